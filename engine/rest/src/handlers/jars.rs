//! Uploaded programs.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::rejection::BytesRejection;
use millrace_cluster::JobSpec;
use millrace_core::{Error, JobId};
use millrace_dataflow::JobGraph;
use millrace_rest_types::Empty;
use millrace_rest_types::jars::{JarRun, Jars, Run, Uploaded};
use millrace_rest_types::plan::PlanInfo;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::answer::{Answer, Failure, Result, ok};
use crate::handlers::{Asked, State};
use crate::parameters::body;
use crate::programs::{Program, Script};
use crate::state::blocking;
use crate::{known, uploads, view};

pub async fn list(state: State) -> Answer {
    let shared = state.shared.clone();
    let files = blocking(move || shared.uploads.list()).await?;
    ok(&Jars {
        address: state.address.clone(),
        files,
    })
}

/// One file in a form.
pub async fn upload(
    state: State,
    form: std::result::Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Answer {
    let received =
        |count: usize| Failure::bad_request(format!("Exactly 1 file must be sent, received {count}."));
    // What is no form has no file.
    let Ok(mut form) = form else {
        return Err(received(0));
    };
    let mut files: Vec<PathBuf> = Vec::new();
    let outcome = receive(&state, &mut form, &mut files).await;
    if let (Ok(()), [file]) = (&outcome, files.as_slice()) {
        return ok(&Uploaded {
            filename: file.display().to_string(),
            status: "success".to_owned(),
        });
    }
    for file in &files {
        let _ = tokio::fs::remove_file(file).await;
    }
    outcome?;
    Err(received(files.len()))
}

async fn receive(state: &State, form: &mut Multipart, files: &mut Vec<PathBuf>) -> Result<()> {
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        // Other fields say nothing.
        let Some(name) = field.file_name().map(str::to_owned) else {
            continue;
        };
        let file = state.uploads.place(&name)?;
        files.push(file.clone());
        write(field, file).await?;
    }
    Ok(())
}

fn unreadable(e: axum::extract::multipart::MultipartError) -> Failure {
    Failure::with(e.status(), e.body_text())
}

async fn write(mut field: Field<'_>, file: PathBuf) -> Result<()> {
    let unwritten = |e: std::io::Error| {
        Failure::of(
            &Error::external("an upload cannot be written")
                .with_detail(file.display().to_string())
                .with_source(e),
        )
    };
    let mut out = File::create(&file).await.map_err(unwritten)?;
    while let Some(bytes) = field.chunk().await.map_err(unreadable)? {
        out.write_all(&bytes).await.map_err(unwritten)?;
    }
    out.flush().await.map_err(unwritten)
}

pub async fn delete(state: State, asked: Asked) -> Answer {
    let (shared, id) = (state.shared.clone(), asked.text("jarid").to_owned());
    blocking(move || shared.uploads.delete(&id)).await?;
    ok(&Empty {})
}

type Body = std::result::Result<Bytes, BytesRejection>;

/// The jobs of an upload, as a request wants them.
async fn planned(state: &State, asked: &Asked, bytes: Body) -> Result<Vec<JobSpec>> {
    let bytes = bytes.map_err(|e| Failure::with(e.status(), e.body_text()))?;
    let mut request: JarRun = body("JarRunRequestBody", &bytes)?;
    let query = |name: &str| {
        asked
            .query(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    request.entry_class = request.entry_class.or_else(|| query("entry-class"));
    request.program_args = request.program_args.or_else(|| query("program-args"));
    request.savepoint_path = request.savepoint_path.or_else(|| query("savepointPath"));
    if let Some(parallelism) = asked.query_parsed("parallelism")? {
        request.parallelism.get_or_insert(parallelism);
    }
    if let Some(allowed) = asked.query_parsed("allowNonRestoredState")? {
        request.allow_non_restored_state.get_or_insert(allowed);
    }
    let jar = asked.text("jarid");
    let file = state.uploads.existing(jar).ok_or_else(|| {
        let path = state.uploads.path(jar);
        Failure::inside(&format!(
            "org.apache.flink.runtime.rest.handler.RestHandlerException: Jar file {} does not exist",
            path.display()
        ))
    })?;
    let program = Program::of(request, state.config())?;
    let shared = state.shared.clone();
    let specs = blocking(move || {
        let sql = match program.script {
            Some(Script::Text(text)) => text,
            Some(Script::File(file)) => {
                let path = file.strip_prefix("file://").unwrap_or(&file);
                std::fs::read_to_string(path).map_err(|e| {
                    Error::user("the SQL file cannot be read")
                        .with_detail(path)
                        .with_source(e)
                })?
            }
            None => uploads::program(&file)?,
        };
        let id = program.id.unwrap_or_else(new_id);
        shared.parts.planner.plan(&sql, &program.config, Some(id))
    })
    .await?;
    Ok(specs)
}

fn new_id() -> JobId {
    JobId(*Uuid::new_v4().as_bytes())
}

/// A request is about one job.
fn only(specs: Vec<JobSpec>) -> Result<JobSpec> {
    let count = specs.len();
    let mut specs = specs.into_iter();
    match (specs.next(), count) {
        (Some(spec), 1) => Ok(spec),
        _ => Err(Failure::of(
            &Error::user("a run is of one job")
                .with_detail(format!("the SQL has {count}"))
                .with_hint("put INSERTs that belong together into one STATEMENT SET, and others into files of their own"),
        )),
    }
}

pub async fn run(state: State, asked: Asked, bytes: Body) -> Answer {
    let spec = only(planned(&state, &asked, bytes).await?)?;
    let (id, dispatcher) = (spec.id, state.dispatcher().clone());
    blocking(move || dispatcher.submit(spec).map(drop)).await?;
    ok(&Run {
        jobid: id.to_string(),
    })
}

pub async fn plan(state: State, asked: Asked, bytes: Body) -> Answer {
    let spec = only(planned(&state, &asked, bytes).await?)?;
    let graph = JobGraph::build(&spec.graph, &spec.name, &spec.config)?;
    let job = known::planned(spec.id, Arc::new(graph), Arc::new(spec.config))?;
    ok(&PlanInfo {
        plan: view::jobs::plan(&job),
    })
}
