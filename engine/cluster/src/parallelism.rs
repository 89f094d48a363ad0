//! How many subtasks the vertices of a job have: what is asked for, and what there are slots for.

use std::time::{Duration, Instant};

use millrace_core::config::ConfigOption;
use millrace_core::{Configuration, Error, Result, options};
use millrace_dataflow::JobGraph;

use crate::gateway::{SlotSource, Slots};
use crate::status::Bounds;

/// How a job comes to its slots, by `jobmanager.scheduler` and `scheduler-mode`.
#[derive(Debug, Clone)]
pub struct Scheduling {
    kind: Kind,
    /// How long it waits for the slots that it needs at least. None: for ever.
    pub wait: Option<Duration>,
    /// How long it waits for more, once it has those.
    pub stabilization: Duration,
    rescale_stabilization: Duration,
    cooldown: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fixed,
    Adaptive,
    Reactive,
}

impl Scheduling {
    pub fn from_config(config: &Configuration) -> Result<Self> {
        let wrong = |key: &str, value: &str, takes: &str| {
            Error::user(format!("{key} has a wrong value"))
                .with_detail(value.to_owned())
                .with_hint(format!("it takes {takes}"))
        };
        let scheduler = config.get(&options::SCHEDULER)?;
        let kind = match scheduler.to_ascii_lowercase().as_str() {
            "default" | "ng" | "legacy" => Kind::Fixed,
            "adaptive" => Kind::Adaptive,
            _ => return Err(wrong(options::SCHEDULER.key, &scheduler, "default or adaptive")),
        };
        let mode = config.get_optional(&options::SCHEDULER_MODE)?;
        let kind = match mode.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("none") => kind,
            Some("reactive") => Kind::Reactive,
            Some(other) => return Err(wrong(options::SCHEDULER_MODE.key, other, "reactive")),
        };
        // Who takes all that there is does not wait for more, unless that is asked for.
        let stabilization = |option: &ConfigOption<Duration>| match kind {
            Kind::Reactive if !config.is_given(option) => Ok(Duration::ZERO),
            _ => config.get(option),
        };
        Ok(Scheduling {
            kind,
            wait: match kind {
                Kind::Fixed => Some(config.get(&options::SLOT_REQUEST_TIMEOUT)?),
                Kind::Adaptive => Some(config.get(&options::RESOURCE_WAIT)?),
                Kind::Reactive => None,
            },
            stabilization: stabilization(&options::RESOURCE_STABILIZATION)?,
            rescale_stabilization: stabilization(&options::RESCALE_STABILIZATION)?,
            cooldown: config.get(&options::RESCALE_COOLDOWN)?,
        })
    }

    /// What a job may have before anybody asks for something else.
    pub fn bounds(&self, graph: &JobGraph) -> Vec<Bounds> {
        let vertices = graph.vertices.iter().enumerate();
        vertices
            .map(|(index, vertex)| match self.kind {
                Kind::Fixed => Bounds {
                    least: vertex.parallelism,
                    most: vertex.parallelism,
                },
                Kind::Adaptive => Bounds {
                    least: 1,
                    most: vertex.parallelism,
                },
                Kind::Reactive => Bounds {
                    least: 1,
                    most: graph.most_subtasks(index),
                },
            })
            .collect()
    }
}

/// Slots that are needed at least, and that can be used at most. A slot holds a subtask of every vertex.
pub fn slots(bounds: &[Bounds]) -> Bounds {
    Bounds {
        least: bounds.iter().map(|b| b.least).max().unwrap_or(0),
        most: bounds.iter().map(|b| b.most).max().unwrap_or(0),
    }
}

/// Subtasks of each vertex in so many slots.
pub fn widths(bounds: &[Bounds], slots: usize) -> Vec<usize> {
    bounds.iter().map(|b| b.most.min(slots).max(1)).collect()
}

/// What is asked for, checked against the graph and put in place of what was.
pub fn with_asked(graph: &JobGraph, bounds: &[Bounds], asked: &[(usize, Bounds)]) -> Result<Vec<Bounds>> {
    let mut changed = bounds.to_vec();
    for (vertex, wanted) in asked {
        let name = |vertex: usize| graph.vertices.get(vertex).map_or("", |v| v.name.as_str());
        let Some(place) = changed.get_mut(*vertex) else {
            return Err(Error::user("the job has no such vertex").with_detail(vertex.to_string()));
        };
        let most = usize::from(graph.vertices[*vertex].max_parallelism);
        if wanted.least == 0 || wanted.least > wanted.most || wanted.most > most {
            return Err(Error::user("the parallelism of a vertex is out of range")
                .with_detail(format!("{}: {} to {}", name(*vertex), wanted.least, wanted.most))
                .with_hint(format!(
                    "the lower bound is at least 1 and not above the upper one, which is at most {most} \
                     (pipeline.max-parallelism)"
                )));
        }
        // Where all rows are of one group, more subtasks would have nothing to do.
        let useful = graph.most_subtasks(*vertex);
        *place = Bounds {
            least: wanted.least.min(useful),
            most: wanted.most.min(useful),
        };
    }
    // Whether the graph can be laid out so.
    graph.with_parallelism(&widths(&changed, usize::MAX))?;
    graph.with_parallelism(&widths(&changed, slots(&changed).least))?;
    Ok(changed)
}

/// Where an attempt runs, and whether it had better run elsewhere.
pub struct Placement<'a> {
    pub source: &'a SlotSource,
    pub held: &'a [Slots],
    /// Subtasks of each vertex.
    pub widths: &'a [usize],
    pub scheduling: &'a Scheduling,
    began: Instant,
    /// Since when there are more slots than are used.
    more_since: Option<Instant>,
}

impl<'a> Placement<'a> {
    pub fn new(
        source: &'a SlotSource,
        held: &'a [Slots],
        widths: &'a [usize],
        scheduling: &'a Scheduling,
    ) -> Self {
        Placement {
            source,
            held,
            widths,
            scheduling,
            began: Instant::now(),
            more_since: None,
        }
    }

    /// Why the attempt should make place for another one now, whose subtasks are elsewhere or another number; if it
    /// should. `is_asked`: somebody has changed the bounds since it began.
    pub fn why_again(&mut self, bounds: &[Bounds], is_asked: bool, now: Instant) -> Option<String> {
        let wanted = slots(bounds);
        let SlotSource::Shared(resources) = self.source else {
            // There are always enough.
            let target = widths(bounds, usize::MAX);
            return (target != self.widths).then(|| format!("its vertices are to have {target:?} subtasks"));
        };
        let is_draining = |slots: &&Slots| resources.is_draining(slots.gateway.id());
        let staying: usize = self
            .held
            .iter()
            .filter(|s| !is_draining(s))
            .map(|s| s.count)
            .sum();
        let leaving: Vec<&str> = self
            .held
            .iter()
            .filter(is_draining)
            .map(|s| s.gateway.id())
            .collect();
        let available = staying + resources.slots().free;
        if available < wanted.least {
            return None;
        }
        if !leaving.is_empty() {
            return Some(format!("TaskManagers end: {}", leaving.join(", ")));
        }
        let target = widths(bounds, available);
        if target == self.widths {
            self.more_since = None;
            return None;
        }
        let is_asked_for = self
            .widths
            .iter()
            .zip(bounds)
            .any(|(width, b)| *width > b.most || *width < b.least);
        let why = || {
            format!(
                "its vertices are to have {target:?} subtasks, not {:?}",
                self.widths
            )
        };
        if is_asked_for {
            return Some(why());
        }
        // More could be had: not at once, for still more may be about to come.
        let since = *self.more_since.get_or_insert(now);
        let has_all = available >= wanted.most;
        let waited = has_all || now.duration_since(since) >= self.scheduling.rescale_stabilization;
        let is_cool = is_asked || now.duration_since(self.began) >= self.scheduling.cooldown;
        (waited && is_cool).then(why)
    }
}
