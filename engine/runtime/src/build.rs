//! From a vertex of the job graph to a subtask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver as CommandReceiver;
use millrace_connector_api::sink::SinkContext;
use millrace_connector_api::source::SourceContext;
use millrace_connector_api::{Registry, Waker};
use millrace_core::{Configuration, Error, Result, key_group, options};
use millrace_dataflow::{
    GroupAggregate as GroupAggregateSpec, MiniBatch, Operator as PlanOperator, Partitioning, Vertex, Window,
    Windowing,
};
use millrace_expr::RowType;
use millrace_expr::compile::Session;
use millrace_expr::text::zone::{self, Zone};
use millrace_state::keyed::{KeyedFiles, KeyedResources};
use tokio::runtime::Handle;

use crate::channel::{Receiver, Sender};
use crate::control::{Command, Reporter};
use crate::gate::InputGate;
use crate::metrics::TaskMetrics;
use crate::operators::Operator;
use crate::operators::bundle::Bundle;
use crate::operators::bundled_group_aggregate::{BundledGroupAggregate, Form};
use crate::operators::calc::Calc;
use crate::operators::changelog_normalize::ChangelogNormalize;
use crate::operators::constraint::ConstraintEnforcer;
use crate::operators::deduplicate::Deduplicate;
use crate::operators::drop_update_before::DropUpdateBefore;
use crate::operators::expand::Expand;
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::interval_join::IntervalJoin;
use crate::operators::join::Join;
use crate::operators::local_group_aggregate::LocalGroupAggregate;
use crate::operators::over;
use crate::operators::rank::Rank;
use crate::operators::session::SessionWindows;
use crate::operators::sink_materializer::SinkMaterializer;
use crate::operators::union::Union;
use crate::operators::values::{self, ValuesReader};
use crate::operators::watermark::Watermark;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::window_join::WindowJoin;
use crate::operators::window_rank::WindowRank;
use crate::operators::window_table::WindowTable;
use crate::output::RemoteOutput;
use crate::sink::SinkEnd;
use crate::source::SourceHead;
use crate::subtask::{Link, Stage, Subtask};
use crate::ttl;

/// What a subtask is made of, without its connections: values that can go over a network.
#[derive(Debug, Clone)]
pub struct SubtaskPlan {
    pub job_name: String,
    pub vertex: Vertex,
    pub subtask: usize,
    pub attempt: u64,
    pub config: Configuration,
    /// By operator uid, the state of all subtasks of the restored checkpoint; `None` at a fresh start.
    pub restored: Option<Arc<HashMap<String, RestoredOperator>>>,
}

/// The state of an operator in the restored checkpoint.
#[derive(Debug, Clone, Default)]
pub struct RestoredOperator {
    /// The entries of all subtasks.
    pub entries: Vec<Vec<u8>>,
    /// The keyed state of each subtask that had some.
    pub keyed: Vec<KeyedFiles>,
}

/// The connections of a subtask within its process.
pub struct SubtaskBuilder {
    pub plan: SubtaskPlan,
    pub registry: Registry,
    pub runtime: Handle,
    pub waker: Waker,
    pub commands: CommandReceiver<Command>,
    pub reporter: Box<dyn Reporter>,
    pub metrics: Arc<TaskMetrics>,
    /// Where keyed state goes while the subtask runs, and what checkpoints it comes from.
    pub keyed: KeyedResources,
    /// Channels into the first operator, each with the number of its input; none for a source.
    pub inputs: Vec<(usize, Receiver)>,
    /// Channels out, by operator in the chain.
    pub outputs: Vec<Output>,
}

/// The channels of one edge out of a subtask.
pub struct Output {
    pub operator: usize,
    pub channels: Vec<Sender>,
    pub partitioning: Partitioning,
    /// Of the reading vertex.
    pub max_parallelism: u16,
}

impl SubtaskBuilder {
    /// Opens readers and writers, which may block, and puts the chain together.
    pub fn build(self) -> Result<Subtask> {
        let SubtaskBuilder {
            plan,
            registry,
            runtime,
            waker,
            commands,
            reporter,
            metrics,
            keyed,
            inputs,
            outputs,
        } = self;
        let session = Session {
            time_zone: session_zone(&plan.config)?,
        };
        let hold_after = plan.config.get_optional(&options::TEST_CHECKPOINT_AFTER)?;
        let mut links = Vec::with_capacity(plan.vertex.operators.len());
        for chained in &plan.vertex.operators {
            let node = &chained.node;
            // An operator that the checkpoint does not know is new: to it this is a fresh start.
            let known = plan.restored.as_ref().and_then(|all| all.get(&node.uid).cloned());
            let (restored, restored_keys) = match known {
                None => (None, Vec::new()),
                Some(RestoredOperator { entries, keyed }) => (Some(entries), keyed),
            };
            let backend = match node.operator.is_keyed() {
                false => None,
                true => {
                    let most = plan.vertex.max_parallelism;
                    let groups = key_group::range(plan.subtask, plan.vertex.parallelism, most);
                    let lifetimes = ttl::lifetimes(node);
                    Some(keyed.open(&node.uid, &lifetimes, groups, most, &restored_keys)?)
                }
            };
            let stage = match &node.operator {
                PlanOperator::Source(spec) => {
                    let reader = registry.source(&spec.table)?.open(
                        spec,
                        SourceContext {
                            config: plan.config.clone(),
                            job_name: plan.job_name.clone(),
                            uid: node.uid.clone(),
                            subtask: plan.subtask,
                            parallelism: plan.vertex.parallelism,
                            max_rows: plan.config.get(&options::BATCH_ROWS)?.max(1),
                            waker: waker.clone(),
                            restored,
                            runtime: runtime.clone(),
                        },
                    )?;
                    Stage::Source(SourceHead::new(reader, metrics.clone(), hold_after))
                }
                PlanOperator::Values { rows } => {
                    if let Some(entries) = &restored {
                        values::check_state(entries)?;
                    }
                    let reader =
                        ValuesReader::open(rows, &node.output, &session, plan.subtask, restored.as_deref())?;
                    Stage::Source(SourceHead::new(Box::new(reader), metrics.clone(), hold_after))
                }
                PlanOperator::Sink(spec) => {
                    let writer = registry.sink(&spec.table)?.open(
                        spec,
                        SinkContext {
                            config: plan.config.clone(),
                            job_name: plan.job_name.clone(),
                            uid: node.uid.clone(),
                            subtask: plan.subtask,
                            parallelism: plan.vertex.parallelism,
                            attempt: plan.attempt,
                            gated: !inputs.is_empty(),
                            waker: waker.clone(),
                            runtime: runtime.clone(),
                        },
                    )?;
                    Stage::Sink(SinkEnd::new(writer, metrics.clone()))
                }
                PlanOperator::Calc {
                    condition,
                    projection,
                } => boxed(Calc::new(condition.as_ref(), projection, &node.output, &session)?),
                PlanOperator::ChangelogNormalize(spec) => {
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    boxed(ChangelogNormalize::new(
                        spec,
                        node.changelog,
                        &node.output,
                        &session,
                        backend,
                    )?)
                }
                PlanOperator::DropUpdateBefore => boxed(DropUpdateBefore),
                PlanOperator::SinkMaterializer(spec) => {
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    boxed(SinkMaterializer::new(spec, &node.output, backend)?)
                }
                PlanOperator::Union => boxed(Union),
                PlanOperator::ConstraintEnforcer { not_null, drop } => boxed(ConstraintEnforcer::new(
                    not_null.clone(),
                    *drop,
                    &node.output,
                    metrics.clone(),
                )),
                PlanOperator::Expand(expansions) => boxed(Expand::new(expansions.clone(), &node.output)),
                PlanOperator::LocalGroupAggregate(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let local = LocalGroupAggregate::new(spec, input, &node.output)?;
                    boxed(Bundle::new(local, mini_batch(spec, &node.name)?))
                }
                PlanOperator::GroupAggregate(spec) | PlanOperator::GlobalGroupAggregate(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let form = match &node.operator {
                        PlanOperator::GlobalGroupAggregate(_) => Form::States,
                        _ => Form::Rows,
                    };
                    match (form, spec.mini_batch) {
                        (Form::Rows, None) => boxed(GroupAggregate::new(
                            spec,
                            node.changelog,
                            input,
                            &node.output,
                            backend,
                        )?),
                        _ => {
                            let limits = mini_batch(spec, &node.name)?;
                            let output = &node.output;
                            let aggregate = BundledGroupAggregate::new(
                                spec,
                                form,
                                node.changelog,
                                input,
                                output,
                                backend,
                            )?;
                            boxed(Bundle::new(aggregate, limits))
                        }
                    }
                }
                PlanOperator::WindowAggregate(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let (zone, restored) = (session.time_zone, restored.as_deref());
                    let (output, metrics) = (&node.output, metrics.clone());
                    match spec.windowing {
                        Windowing::Laid {
                            window: Window::Session { .. },
                            ..
                        } => boxed(SessionWindows::aggregate(
                            spec, input, output, backend, zone, restored, metrics,
                        )?),
                        _ => boxed(WindowAggregate::new(
                            spec, input, output, backend, zone, restored, metrics,
                        )?),
                    }
                }
                PlanOperator::Rank(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    match spec.deduplicates() {
                        Some(kept) => boxed(Deduplicate::new(
                            spec,
                            kept,
                            node.changelog,
                            input,
                            backend,
                            metrics.clone(),
                        )?),
                        None => boxed(Rank::new(spec, node.changelog, input, &node.output, backend)?),
                    }
                }
                PlanOperator::OverAggregate(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    Stage::Operator(over::operator(
                        spec,
                        input,
                        &node.output,
                        backend,
                        node.state_ttl(0),
                        metrics.clone(),
                    )?)
                }
                PlanOperator::Join(spec) => {
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let inputs = both(&chained.inputs, &node.name)?;
                    boxed(Join::new(spec, inputs, &node.output, &session, backend)?)
                }
                PlanOperator::IntervalJoin(spec) => {
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let inputs = both(&chained.inputs, &node.name)?;
                    boxed(IntervalJoin::new(spec, inputs, &node.output, &session, backend)?)
                }
                PlanOperator::WindowJoin(spec) => {
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let inputs = both(&chained.inputs, &node.name)?;
                    let (restored, metrics) = (restored.as_deref(), metrics.clone());
                    let output = &node.output;
                    boxed(WindowJoin::open(
                        spec, inputs, output, &session, backend, restored, metrics,
                    )?)
                }
                PlanOperator::WindowRank(spec) => {
                    let input = chained.inputs.first().unwrap_or(&node.output);
                    let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                    let (zone, restored) = (session.time_zone, restored.as_deref());
                    let (output, metrics) = (&node.output, metrics.clone());
                    boxed(WindowRank::open(
                        spec, input, output, backend, zone, restored, metrics,
                    )?)
                }
                PlanOperator::WindowTable(spec) => match spec.window {
                    Window::Session { .. } => {
                        let input = chained.inputs.first().unwrap_or(&node.output);
                        let backend = backend.as_ref().ok_or_else(|| keyless(&node.name))?;
                        let (zone, restored) = (session.time_zone, restored.as_deref());
                        let (output, metrics) = (&node.output, metrics.clone());
                        boxed(SessionWindows::table(
                            spec, input, output, backend, zone, restored, metrics,
                        )?)
                    }
                    _ => boxed(WindowTable::new(spec, &node.output, session.time_zone)?),
                },
                PlanOperator::Watermark(spec) => boxed(Watermark::new(
                    spec,
                    &node.output.fields[spec.column].name,
                    match spec.idle_timeout_millis {
                        Some(millis) => Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
                        None => plan.config.get(&options::SOURCE_IDLE_TIMEOUT)?,
                    },
                    &session,
                    metrics.clone(),
                )?),
            };
            links.push(Link {
                uid: node.uid.clone(),
                name: node.name.clone(),
                stage,
                keyed: backend,
                local: Vec::new(),
                remote: Vec::new(),
            });
        }
        for (index, chained) in plan.vertex.operators.iter().enumerate() {
            if let Some(input) = chained.input {
                links[input].local.push(index);
            }
        }
        let through_wire = plan.config.get(&options::TEST_WIRE)?;
        for output in outputs {
            let schema = plan.vertex.operators[output.operator].node.output.to_arrow();
            let remote = RemoteOutput::new(
                output.channels,
                &output.partitioning,
                plan.subtask,
                &schema,
                output.max_parallelism,
            )?;
            let remote = match through_wire {
                true => remote.through_wire(schema),
                false => remote,
            };
            links[output.operator].remote.push(remote);
        }
        let gate = (!inputs.is_empty()).then(|| InputGate::new(inputs));
        metrics.connect(
            gate.iter().flat_map(InputGate::probes).collect(),
            links
                .iter()
                .flat_map(|link| &link.remote)
                .flat_map(RemoteOutput::probes)
                .collect(),
        );
        Ok(Subtask::new(links, gate, commands, reporter, metrics))
    }
}

fn mini_batch(spec: &GroupAggregateSpec, operator: &str) -> Result<MiniBatch> {
    spec.mini_batch.ok_or_else(|| {
        Error::internal("an aggregation in two phases was planned without mini-batches")
            .with_detail(operator.to_owned())
    })
}

/// The rows of both inputs of a join.
fn both<'a>(inputs: &'a [RowType], operator: &str) -> Result<[&'a RowType; 2]> {
    match inputs {
        [left, right] => Ok([left, right]),
        _ => Err(Error::internal("a join has not two inputs").with_detail(operator.to_owned())),
    }
}

fn keyless(operator: &str) -> Error {
    Error::internal("an operator with keyed state has no place for it").with_detail(operator.to_owned())
}

fn boxed(operator: impl Operator + 'static) -> Stage {
    Stage::Operator(Box::new(operator))
}

/// The session's time zone: `table.local-time-zone`, else the machine's.
pub fn session_zone(config: &Configuration) -> Result<Zone> {
    let name = config.get(&options::LOCAL_TIME_ZONE)?;
    if name == "default" {
        return Ok(zone::machine());
    }
    zone::session(&name).ok_or_else(|| {
        Error::user("the time zone of table.local-time-zone is not known")
            .with_detail(name)
            .with_hint(
                "give a name of the tz database, such as 'Europe/Berlin', 'UTC', or an offset: 'GMT+05:30'",
            )
    })
}
