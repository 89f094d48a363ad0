//! What a subtask has counted, under the names that Flink gives it: the one list of them, for whoever shows them.

use millrace_connector_api::Metric;
use millrace_connector_api::metrics::{Kind, Value};

use super::{Gauge, Meter, OperatorKind, OperatorMetrics, TaskMetrics};

/// A counter, and how much it grows a second.
struct Rated(&'static str, &'static str);

impl Rated {
    fn of(&self, meter: &Meter) -> [Metric; 2] {
        [
            Metric::counter(self.0, meter.get()),
            Metric::meter(self.1, meter.per_second()),
        ]
    }
}

const RECORDS_IN: Rated = Rated("numRecordsIn", "numRecordsInPerSecond");
const RECORDS_OUT: Rated = Rated("numRecordsOut", "numRecordsOutPerSecond");
const BYTES_IN: Rated = Rated("numBytesIn", "numBytesInPerSecond");
const BYTES_OUT: Rated = Rated("numBytesOut", "numBytesOutPerSecond");
const BUFFERS_OUT: Rated = Rated("numBuffersOut", "numBuffersOutPerSecond");
const FIRED_TIMERS: Rated = Rated("numFiredTimers", "numFiredTimersPerSecond");

/// Of what comes in by channels, in the task's scope and once more where Flink's shuffle service has it.
const INPUTS: [(Rated, Rated); 4] = [
    (
        Rated("numBytesInLocal", "numBytesInLocalPerSecond"),
        Rated(
            "Shuffle.Netty.Input.numBytesInLocal",
            "Shuffle.Netty.Input.numBytesInLocalPerSecond",
        ),
    ),
    (
        Rated("numBytesInRemote", "numBytesInRemotePerSecond"),
        Rated(
            "Shuffle.Netty.Input.numBytesInRemote",
            "Shuffle.Netty.Input.numBytesInRemotePerSecond",
        ),
    ),
    (
        Rated("numBuffersInLocal", "numBuffersInLocalPerSecond"),
        Rated(
            "Shuffle.Netty.Input.numBuffersInLocal",
            "Shuffle.Netty.Input.numBuffersInLocalPerSecond",
        ),
    ),
    (
        Rated("numBuffersInRemote", "numBuffersInRemotePerSecond"),
        Rated(
            "Shuffle.Netty.Input.numBuffersInRemote",
            "Shuffle.Netty.Input.numBuffersInRemotePerSecond",
        ),
    ),
];

/// A share of a whole, 0 to 1.
fn share(part: &Gauge, whole: &Gauge) -> f64 {
    match whole.get() {
        0 => 0.0,
        whole => (part.get() as f64 / whole as f64).clamp(0.0, 1.0),
    }
}

fn millis(nanos: u64) -> u64 {
    nanos / 1_000_000
}

impl TaskMetrics {
    /// Metrics of the task's scope.
    pub fn named(&self) -> Vec<Metric> {
        let mut named = self.flow();
        named.extend(self.time());
        named.extend(self.channels());
        named.extend(self.mailbox());
        named.extend(self.checkpointing());
        named
    }

    /// Rows and bytes.
    fn flow(&self) -> Vec<Metric> {
        let mut flow = Vec::new();
        if let Some(head) = self.operators.first() {
            flow.extend(RECORDS_IN.of(&head.records_in));
            if head.kind != OperatorKind::Source {
                flow.push(Metric::gauge("currentInputWatermark", head.input_watermark.get()));
            }
        }
        let tails = || self.operators.iter().filter(|operator| operator.is_tail);
        let out: u64 = tails().map(|tail| tail.records_out.get()).sum();
        let rate: f64 = tails().map(|tail| tail.records_out.per_second()).sum();
        flow.push(Metric::counter(RECORDS_OUT.0, out));
        flow.push(Metric::meter(RECORDS_OUT.1, rate));
        flow.extend(FIRED_TIMERS.of(&self.fired_timers));
        flow
    }

    /// What the subtask's thread does with its time.
    fn time(&self) -> Vec<Metric> {
        let pressure = &self.back_pressure;
        let (soft, hard) = (
            pressure.soft_nanos.millis_per_second(),
            pressure.hard_nanos.millis_per_second(),
        );
        vec![
            Metric::gauge("busyTimeMsPerSecond", self.busy_nanos.millis_per_second()),
            Metric::gauge("idleTimeMsPerSecond", self.idle_nanos.millis_per_second()),
            Metric::gauge("backPressuredTimeMsPerSecond", (soft + hard).min(1000)),
            Metric::gauge("softBackPressuredTimeMsPerSecond", soft),
            Metric::gauge("hardBackPressuredTimeMsPerSecond", hard),
            Metric::gauge(
                "maxSoftBackPressureTimeMs",
                pressure.longest_soft.shown_millis.get(),
            ),
            Metric::gauge(
                "maxHardBackPressureTimeMs",
                pressure.longest_hard.shown_millis.get(),
            ),
            Metric::gauge("isBackPressured", pressure.is_now.get() != 0),
            Metric::gauge("accumulateBusyTimeMs", millis(self.busy_nanos.get())),
            Metric::gauge("accumulateIdleTimeMs", millis(self.idle_nanos.get())),
            Metric::gauge("accumulateBackPressuredTimeMs", millis(pressure.nanos())),
        ]
    }

    /// What goes through channels, and waits in them.
    fn channels(&self) -> Vec<Metric> {
        let traffic = &self.traffic;
        let mut named = vec![
            Metric::counter(
                BYTES_IN.0,
                traffic.bytes_in_local.get() + traffic.bytes_in_remote.get(),
            ),
            Metric::meter(
                BYTES_IN.1,
                traffic.bytes_in_local.per_second() + traffic.bytes_in_remote.per_second(),
            ),
        ];
        let inputs = [
            &traffic.bytes_in_local,
            &traffic.bytes_in_remote,
            &traffic.buffers_in_local,
            &traffic.buffers_in_remote,
        ];
        for ((own, shuffle), meter) in INPUTS.iter().zip(inputs) {
            named.extend(own.of(meter));
            named.extend(shuffle.of(meter));
        }
        named.extend(BYTES_OUT.of(&traffic.bytes_out));
        named.extend(BUFFERS_OUT.of(&traffic.buffers_out));
        let buffers = &self.buffers;
        let [input, output] = ["Shuffle.Netty.Input.Buffers", "Shuffle.Netty.Output.Buffers"];
        for group in ["buffers", input] {
            named.push(Metric::gauge(
                format!("{group}.inputQueueLength"),
                buffers.input_length.get(),
            ));
            let usage = share(&buffers.input_bytes, &buffers.input_capacity);
            named.push(Metric::gauge(format!("{group}.inPoolUsage"), usage));
        }
        for group in ["buffers", output] {
            named.push(Metric::gauge(
                format!("{group}.outputQueueLength"),
                buffers.output_length.get(),
            ));
            let usage = share(&buffers.output_bytes, &buffers.output_capacity);
            named.push(Metric::gauge(format!("{group}.outPoolUsage"), usage));
        }
        named.push(Metric::gauge(
            format!("{input}.inputQueueSize"),
            buffers.input_bytes.get(),
        ));
        named.push(Metric::gauge(
            format!("{output}.outputQueueSize"),
            buffers.output_bytes.get(),
        ));
        named
    }

    /// Commands to the subtask.
    fn mailbox(&self) -> Vec<Metric> {
        let latency = Value::Histogram(self.latency.known().into());
        vec![
            Metric::meter("mailboxMailsPerSecond", self.mails.per_second()),
            Metric::gauge("mailboxQueueSize", self.mail_queue.get()),
            Metric::new("mailboxLatencyMs", Kind::Histogram, latency),
        ]
    }

    fn checkpointing(&self) -> Vec<Metric> {
        let mut named = vec![
            Metric::gauge("checkpointStartDelayNanos", self.start_delay_nanos.get()),
            Metric::gauge("initializationTime", self.initialization_millis.get()),
        ];
        if self.identity.as_ref().is_some_and(|identity| identity.has_inputs) {
            named.push(Metric::gauge(
                "checkpointAlignmentTime",
                self.alignment_nanos.get(),
            ));
        }
        named
    }

    /// Metrics of an operator's scope, at this time in milliseconds since 1970.
    pub fn named_of(&self, operator: usize, now_millis: i64) -> Vec<Metric> {
        let Some(own) = self.operators.get(operator) else {
            return Vec::new();
        };
        let mut named: Vec<Metric> = [RECORDS_IN.of(&own.records_in), RECORDS_OUT.of(&own.records_out)]
            .into_iter()
            .flatten()
            .collect();
        let output_watermark = match own.kind {
            OperatorKind::Source => self.source_watermark(operator),
            _ => own.output_watermark.get(),
        };
        named.push(Metric::gauge("currentOutputWatermark", output_watermark));
        if own.kind != OperatorKind::Source {
            named.push(Metric::gauge("currentInputWatermark", own.input_watermark.get()));
        }
        match own.kind {
            OperatorKind::Source => named.extend(self.source(own, output_watermark, now_millis)),
            OperatorKind::Sink => named.extend(sink(own)),
            OperatorKind::EventTime => {
                named.push(Metric::counter("numLateRecordsDropped", own.late_records.get()));
                named.push(Metric::meter(
                    "lateRecordsDroppedRate",
                    own.late_records.per_second(),
                ));
                let latency = lag(own.input_watermark.get(), now_millis);
                named.push(Metric::gauge("watermarkLatency", latency));
            }
            OperatorKind::Watermark | OperatorKind::Other => {}
        }
        named.extend(own.known().iter().cloned());
        named
    }

    /// Where an operator right behind a source assigns its watermarks, they are the source's, as in Flink's plans.
    fn source_watermark(&self, source: usize) -> i64 {
        match self.operators.get(source + 1) {
            Some(next) if next.kind == OperatorKind::Watermark => next.output_watermark.get(),
            _ => self.operators[source].output_watermark.get(),
        }
    }

    fn source(&self, own: &OperatorMetrics, watermark: i64, now_millis: i64) -> Vec<Metric> {
        let idle = match own.idle_since.get() {
            0 => 0,
            since => (now_millis - since).max(0),
        };
        let mut named = vec![
            Metric::gauge("sourceIdleTime", idle),
            Metric::counter("numRecordsInErrors", self.skipped_records.get()),
        ];
        if self.pending_records.get() >= 0 {
            named.push(Metric::gauge("pendingRecords", self.pending_records.get()));
        }
        if watermark != i64::MIN {
            named.push(Metric::gauge("watermarkLag", lag(watermark, now_millis)));
        }
        if own.counts_bytes.get() != 0 {
            named.extend(BYTES_IN.of(&own.bytes_in));
        }
        named
    }
}

/// How far a watermark is behind the clock. Before the first there is none, and after the last none that means
/// anything.
fn lag(watermark: i64, now_millis: i64) -> i64 {
    match watermark {
        i64::MIN | i64::MAX => 0,
        watermark => now_millis - watermark,
    }
}

fn sink(own: &OperatorMetrics) -> Vec<Metric> {
    let mut named = vec![Metric::counter("numRecordsSend", own.records_out.get())];
    if own.counts_bytes.get() != 0 {
        named.extend(BYTES_OUT.of(&own.bytes_out));
        named.push(Metric::counter("numBytesSend", own.bytes_out.get()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(named: &[Metric], name: &str) -> Option<f64> {
        let mut found = named.iter().filter(|metric| metric.name == name);
        let value = found.next().map(|metric| metric.value.number());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    fn metrics(kinds: &[OperatorKind]) -> TaskMetrics {
        let operators = kinds.iter().map(|kind| OperatorMetrics {
            kind: *kind,
            ..OperatorMetrics::new("operator".to_owned())
        });
        TaskMetrics::empty(operators)
    }

    #[test]
    fn operators_have_flinks_names() {
        let metrics = metrics(&[OperatorKind::EventTime]);
        metrics.operators[0].late_records.add(3);
        metrics.operators[0].input_watermark.set(17);
        let named = metrics.named_of(0, 20);
        assert_eq!(value(&named, "numLateRecordsDropped"), Some(3.0));
        assert_eq!(value(&named, "currentInputWatermark"), Some(17.0));
        assert_eq!(value(&named, "watermarkLatency"), Some(3.0));
        assert_eq!(value(&named, "currentOutputWatermark"), Some(i64::MIN as f64));
        assert_eq!(value(&named, "pendingRecords"), None);
    }

    #[test]
    fn a_source_has_the_watermark_that_is_assigned_behind_it() {
        let metrics = metrics(&[OperatorKind::Source, OperatorKind::Watermark]);
        assert_eq!(value(&metrics.named_of(0, 50), "watermarkLag"), None);
        metrics.operators[1].output_watermark.set(40);
        metrics.operators[0].idle_since.set(45);
        let named = metrics.named_of(0, 50);
        assert_eq!(value(&named, "currentOutputWatermark"), Some(40.0));
        assert_eq!(value(&named, "watermarkLag"), Some(10.0));
        assert_eq!(value(&named, "sourceIdleTime"), Some(5.0));
    }

    #[test]
    fn soft_and_hard_back_pressure_are_one_together() {
        let metrics = metrics(&[OperatorKind::Other]);
        metrics.sample(0);
        metrics.back_pressure.waited(false, 1_000_000_000, 1_000_000_000);
        metrics.back_pressure.waited(true, 500_000_000, 1_500_000_000);
        metrics.sample(5_000);
        let named = metrics.named();
        assert_eq!(value(&named, "softBackPressuredTimeMsPerSecond"), Some(200.0));
        assert_eq!(value(&named, "hardBackPressuredTimeMsPerSecond"), Some(100.0));
        assert_eq!(value(&named, "backPressuredTimeMsPerSecond"), Some(300.0));
        assert_eq!(value(&named, "accumulateBackPressuredTimeMs"), Some(1500.0));
    }
}
