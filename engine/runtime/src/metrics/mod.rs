//! Counters of a subtask, written by its thread and read by anybody.
//!
//! Layout: `rate` how fast counters grow, `latency` how long commands wait, `named` all of it under Flink's names.

mod latency;
mod named;
mod rate;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use millrace_connector_api::Metric;
use millrace_core::{JobId, VertexId};
use millrace_dataflow::{JobGraph, Operator};

use crate::channel::Probe;

pub use latency::{Latency, LongestStep};
pub use rate::Meter;

#[derive(Debug, Default)]
pub struct TaskMetrics {
    /// Whose they are; none in tests.
    pub identity: Option<TaskIdentity>,
    /// Rows that sources of the subtask gave.
    pub source_records: Counter,
    /// Rows that sinks of the subtask took.
    pub sink_records: Counter,
    /// Records that did not parse and were skipped by option.
    pub skipped_records: Counter,
    /// Rows left out because a NOT NULL column of the sink was null.
    pub dropped_records: Counter,
    /// Rows that came after what they belong to was given out.
    pub late_records: Counter,
    /// Records that wait outside; -1 where the source cannot tell.
    pub pending_records: Gauge,
    /// Milliseconds since 1970; `i64::MIN` before the first.
    pub watermark: Gauge,
    /// At work, or waiting for what is outside of the job: a sink that takes nothing.
    pub busy_nanos: Meter,
    /// Without input.
    pub idle_nanos: Meter,
    pub back_pressure: BackPressure,
    pub traffic: Traffic,
    pub buffers: Buffers,
    /// Keys that had something to do at a time that has come.
    pub fired_timers: Meter,
    /// Commands that were taken.
    pub mails: Meter,
    /// Commands that waited when the last ones were taken.
    pub mail_queue: Gauge,
    pub latency: Latency,
    /// From the trigger of a checkpoint to its first barrier here.
    pub start_delay_nanos: Gauge,
    /// From a checkpoint's first barrier here to its last one.
    pub alignment_nanos: Gauge,
    /// From the start of the thread until sources, sinks and state are open.
    pub initialization_millis: Gauge,
    /// One a chained operator, in the chain's order.
    pub operators: Vec<OperatorMetrics>,
    connections: OnceLock<Connections>,
    last_look: Mutex<Option<i64>>,
}

/// Which subtask of which job.
#[derive(Debug, Clone)]
pub struct TaskIdentity {
    pub job: JobId,
    pub job_name: String,
    pub vertex: VertexId,
    pub vertex_name: String,
    pub subtask: usize,
    /// From 0.
    pub attempt: u64,
    /// Whether it has channels in: the others read from outside.
    pub has_inputs: bool,
}

/// Time in which a subtask could give nothing on, for its readers have no room.
#[derive(Debug, Default)]
pub struct BackPressure {
    /// Nothing is taken in; commands and barriers are.
    pub soft_nanos: Meter,
    /// In the middle of what was taken in: barriers wait too.
    pub hard_nanos: Meter,
    /// Whether it is so now: 1.
    pub is_now: Gauge,
    longest_soft: Longest,
    longest_hard: Longest,
}

/// The longest of several times: of those since the last look, and of those before it.
#[derive(Debug, Default)]
struct Longest {
    running_nanos: AtomicU64,
    shown_millis: Gauge,
}

impl Longest {
    fn look(&self) {
        let nanos = self.running_nanos.swap(0, Ordering::Relaxed);
        self.shown_millis.set((nanos / 1_000_000) as i64);
    }
}

/// What has come in and gone out by channels.
#[derive(Debug, Default)]
pub struct Traffic {
    pub bytes_in_local: Meter,
    pub bytes_in_remote: Meter,
    pub buffers_in_local: Meter,
    pub buffers_in_remote: Meter,
    pub bytes_out: Meter,
    pub buffers_out: Meter,
}

/// What waits in a subtask's channels: elements, bytes, and the bytes that have room.
#[derive(Debug, Default)]
pub struct Buffers {
    pub input_length: Gauge,
    pub input_bytes: Gauge,
    pub input_capacity: Gauge,
    pub output_length: Gauge,
    pub output_bytes: Gauge,
    pub output_capacity: Gauge,
}

#[derive(Debug)]
struct Connections {
    inputs: Vec<Probe>,
    outputs: Vec<Probe>,
}

/// What an operator has counted.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    pub name: String,
    /// Made as a vertex's is: a head has the same as its vertex. None in tests.
    pub id: Option<VertexId>,
    pub kind: OperatorKind,
    /// Its rows leave the subtask, by channels or into a sink.
    pub is_tail: bool,
    pub records_in: Meter,
    pub records_out: Meter,
    /// Rows that came after what they belong to was given out.
    pub late_records: Meter,
    /// Of a source.
    pub bytes_in: Meter,
    /// Of a sink.
    pub bytes_out: Meter,
    /// Whether the connector counts bytes: 1.
    pub counts_bytes: Gauge,
    /// Milliseconds since 1970; `i64::MIN` before the first.
    pub input_watermark: Gauge,
    pub output_watermark: Gauge,
    /// Of a source: since when it gives nothing, in milliseconds since 1970; 0: it does.
    pub idle_since: Gauge,
    /// What its connector says of itself.
    known: Mutex<Arc<[Metric]>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OperatorKind {
    Source,
    Watermark,
    Sink,
    /// Counts rows that are late.
    EventTime,
    #[default]
    Other,
}

impl OperatorKind {
    pub fn of(operator: &Operator) -> Self {
        match operator {
            Operator::Source(_) | Operator::Values { .. } => OperatorKind::Source,
            Operator::Watermark(_) => OperatorKind::Watermark,
            Operator::Sink(_) => OperatorKind::Sink,
            Operator::WindowAggregate(_)
            | Operator::WindowRank(_)
            | Operator::WindowJoin(_)
            | Operator::OverAggregate(_) => OperatorKind::EventTime,
            _ => OperatorKind::Other,
        }
    }
}

impl OperatorMetrics {
    fn new(name: String) -> Self {
        let metrics = OperatorMetrics {
            name,
            ..Default::default()
        };
        metrics.input_watermark.set(i64::MIN);
        metrics.output_watermark.set(i64::MIN);
        metrics
    }

    /// What its connector says of itself.
    pub fn known(&self) -> Arc<[Metric]> {
        self.known.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn set_known(&self, known: Vec<Metric>) {
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = known.into();
    }

    fn meters(&self) -> [&Meter; 5] {
        [
            &self.records_in,
            &self.records_out,
            &self.late_records,
            &self.bytes_in,
            &self.bytes_out,
        ]
    }

    fn gauges(&self) -> [&Gauge; 4] {
        [
            &self.counts_bytes,
            &self.input_watermark,
            &self.output_watermark,
            &self.idle_since,
        ]
    }
}

impl TaskMetrics {
    /// Of operators of these names, of no job.
    pub fn new(operators: impl IntoIterator<Item = String>) -> Arc<Self> {
        Arc::new(TaskMetrics::empty(
            operators.into_iter().map(OperatorMetrics::new),
        ))
    }

    fn empty(operators: impl Iterator<Item = OperatorMetrics>) -> Self {
        let metrics = TaskMetrics {
            operators: operators.collect(),
            ..Default::default()
        };
        metrics.pending_records.set(-1);
        metrics.watermark.set(i64::MIN);
        metrics
    }

    /// Of one subtask of a job, in its run `attempt`, which is counted from 1.
    pub fn of(job: JobId, graph: &JobGraph, vertex: usize, subtask: usize, attempt: u64) -> Arc<Self> {
        let own = &graph.vertices[vertex];
        let operators = own.operators.iter().enumerate().map(|(index, chained)| {
            let kind = OperatorKind::of(&chained.node.operator);
            let mut edges = graph.edges.iter();
            OperatorMetrics {
                id: Some(VertexId::from_uid(&chained.node.uid)),
                kind,
                is_tail: kind == OperatorKind::Sink
                    || edges.any(|edge| edge.from_vertex == vertex && edge.from_operator == index),
                ..OperatorMetrics::new(chained.node.name.clone())
            }
        });
        let mut metrics = TaskMetrics::empty(operators);
        metrics.identity = Some(TaskIdentity {
            job,
            job_name: graph.name.clone(),
            vertex: own.id(),
            vertex_name: own.name.clone(),
            subtask,
            attempt: attempt.saturating_sub(1),
            has_inputs: graph.edges.iter().any(|edge| edge.to_vertex == vertex),
        });
        Arc::new(metrics)
    }

    /// The subtask's channels, once they are there.
    pub fn connect(&self, inputs: Vec<Probe>, outputs: Vec<Probe>) {
        // A subtask is built once.
        let _ = self.connections.set(Connections { inputs, outputs });
    }

    /// Takes what channels have counted, and what waits in them.
    pub fn refresh(&self) {
        self.latency.refresh();
        let Some(Connections { inputs, outputs }) = self.connections.get() else {
            return;
        };
        let sum = |probes: &[Probe], part: &dyn Fn(&Probe) -> u64| probes.iter().map(part).sum::<u64>();
        let traffic = &self.traffic;
        let of = |is_remote: bool, probe: &Probe, count: u64| {
            if probe.is_remote() == is_remote { count } else { 0 }
        };
        for (is_remote, bytes, buffers) in [
            (false, &traffic.bytes_in_local, &traffic.buffers_in_local),
            (true, &traffic.bytes_in_remote, &traffic.buffers_in_remote),
        ] {
            bytes.set(sum(inputs, &|p| of(is_remote, p, p.bytes())));
            buffers.set(sum(inputs, &|p| of(is_remote, p, p.elements())));
        }
        traffic.bytes_out.set(sum(outputs, &Probe::bytes));
        traffic.buffers_out.set(sum(outputs, &Probe::elements));
        for (probes, length, bytes, capacity) in [
            (
                inputs,
                &self.buffers.input_length,
                &self.buffers.input_bytes,
                &self.buffers.input_capacity,
            ),
            (
                outputs,
                &self.buffers.output_length,
                &self.buffers.output_bytes,
                &self.buffers.output_capacity,
            ),
        ] {
            let waiting: Vec<_> = probes.iter().map(Probe::waiting).collect();
            length.set(waiting.iter().map(|w| w.elements as i64).sum());
            bytes.set(waiting.iter().map(|w| w.bytes as i64).sum());
            capacity.set(waiting.iter().map(|w| w.capacity as i64).sum());
        }
    }

    /// Takes the time for what is counted by time. Called about once a second, by one thread.
    pub fn sample(&self, now_millis: i64) {
        let mut last = self.last_look.lock().unwrap_or_else(|e| e.into_inner());
        if last.is_some_and(|last| now_millis - last < rate::LOOK) {
            return;
        }
        *last = Some(now_millis);
        self.meters().iter().for_each(|meter| meter.look(now_millis));
        // Elsewhere they come with the values.
        if self.connections.get().is_some() {
            self.back_pressure.longest_soft.look();
            self.back_pressure.longest_hard.look();
        }
    }

    /// All that is counted, in one order: for the same subtask's metrics in another process.
    pub fn values(&self) -> Vec<i64> {
        let counters = self.counters().into_iter().map(|counter| counter.get() as i64);
        let mut values: Vec<i64> = counters.collect();
        values.extend(self.gauges().iter().map(|gauge| gauge.get()));
        values.extend(self.latency.values());
        values
    }

    /// What `values` of the same subtask has given; of another release's what is known.
    pub fn set_values(&self, values: &[i64]) {
        let (counters, gauges) = (self.counters(), self.gauges());
        let mut values = values.iter();
        for (counter, value) in counters.iter().zip(&mut values) {
            counter.set(*value as u64);
        }
        for (gauge, value) in gauges.iter().zip(&mut values) {
            gauge.set(*value);
        }
        self.latency.set_values(values.as_slice());
    }

    fn counters(&self) -> Vec<&Counter> {
        let own = [
            &self.source_records,
            &self.sink_records,
            &self.skipped_records,
            &self.dropped_records,
            &self.late_records,
        ];
        let meters = self.meters();
        own.into_iter()
            .chain(meters.into_iter().map(|meter| &**meter))
            .collect()
    }

    fn meters(&self) -> Vec<&Meter> {
        let mut meters = vec![
            &self.busy_nanos,
            &self.idle_nanos,
            &self.back_pressure.soft_nanos,
            &self.back_pressure.hard_nanos,
            &self.traffic.bytes_in_local,
            &self.traffic.bytes_in_remote,
            &self.traffic.buffers_in_local,
            &self.traffic.buffers_in_remote,
            &self.traffic.bytes_out,
            &self.traffic.buffers_out,
            &self.fired_timers,
            &self.mails,
        ];
        meters.extend(self.operators.iter().flat_map(OperatorMetrics::meters));
        meters
    }

    fn gauges(&self) -> Vec<&Gauge> {
        let mut gauges = vec![
            &self.pending_records,
            &self.watermark,
            &self.back_pressure.is_now,
            &self.back_pressure.longest_soft.shown_millis,
            &self.back_pressure.longest_hard.shown_millis,
            &self.buffers.input_length,
            &self.buffers.input_bytes,
            &self.buffers.input_capacity,
            &self.buffers.output_length,
            &self.buffers.output_bytes,
            &self.buffers.output_capacity,
            &self.mail_queue,
            &self.start_delay_nanos,
            &self.alignment_nanos,
            &self.initialization_millis,
        ];
        gauges.extend(self.operators.iter().flat_map(OperatorMetrics::gauges));
        gauges
    }
}

impl BackPressure {
    /// A wait for room is over that has lasted so long; `all_nanos`: with those right before it.
    pub fn waited(&self, is_hard: bool, nanos: u64, all_nanos: u64) {
        let (time, longest) = match is_hard {
            false => (&self.soft_nanos, &self.longest_soft),
            true => (&self.hard_nanos, &self.longest_hard),
        };
        time.add(nanos);
        longest.running_nanos.fetch_max(all_nanos, Ordering::Relaxed);
    }

    /// Both kinds.
    pub fn nanos(&self) -> u64 {
        self.soft_nanos.get() + self.hard_nanos.get()
    }
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_another_process() {
        let [here, there] = [(), ()].map(|()| TaskMetrics::new(["a".to_owned(), "b".to_owned()]));
        here.busy_nanos.add(7);
        here.pending_records.set(-1);
        here.operators[1].records_out.add(3);
        here.operators[1].output_watermark.set(-5);
        there.set_values(&here.values());
        assert_eq!(there.values(), here.values());
        assert_eq!(there.operators[1].output_watermark.get(), -5);
        assert_eq!(there.operators[1].records_out.get(), 3);
        assert_eq!(there.busy_nanos.get(), 7);
    }

    #[test]
    fn a_look_that_comes_too_soon_is_none() {
        let metrics = TaskMetrics::new(["a".to_owned()]);
        metrics.sample(0);
        metrics.operators[0].records_in.add(600);
        metrics.sample(4_999);
        assert_eq!(metrics.operators[0].records_in.per_second(), 0.0);
        metrics.sample(5_000);
        assert_eq!(metrics.operators[0].records_in.per_second(), 10.0);
    }
}
