//! What is simulated of machines is as of machines: each case in a process of its own, twice, for the same must come of
//! it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use millrace_simulation::kernel::{
    self, Clock, Host, MICROSECOND, MILLISECOND, Pace, Process, SECOND, Settings,
};

type Case = (&'static str, fn());

const CASES: [Case; 9] = [
    ("a_day_passes_at_once", a_day_passes_at_once),
    ("threads_take_turns_by_the_seed", threads_take_turns_by_the_seed),
    (
        "a_thread_that_is_woken_in_time_was_not_late",
        a_thread_that_is_woken_in_time_was_not_late,
    ),
    ("clocks_differ_and_drift", clocks_differ_and_drift),
    (
        "the_killed_never_run_again_and_their_connections_break",
        the_killed,
    ),
    ("the_frozen_stand_still", the_frozen_stand_still),
    (
        "what_is_sent_over_a_cut_link_arrives_later",
        what_is_sent_over_a_cut_link_arrives_later,
    ),
    (
        "tokio_works_over_simulated_sockets",
        tokio_works_over_simulated_sockets,
    ),
    (
        "rocksdb_flushes_in_simulated_threads",
        rocksdb_flushes_in_simulated_threads,
    ),
];

const SERVER: Host = Host([10, 0, 0, 1]);
const CLIENT: Host = Host([10, 0, 0, 2]);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, run, name, seed] = arguments.as_slice()
        && run == "--case"
    {
        let (_, case) = CASES.iter().find(|(known, _)| known == name).expect("a case");
        simulate(*case, seed.parse().expect("a seed"));
    }
    let wanted = arguments.get(1).filter(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    println!("\nrunning {} tests", CASES.len());
    for (name, _) in CASES
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted.as_str())))
    {
        let outcome = check(name);
        println!(
            "test {name} ... {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        if let Err(why) = outcome {
            println!("{why}");
            failed += 1;
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {failed} failed; 0 ignored\n",
        CASES.len() - failed
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Some seeds, each twice.
fn check(name: &str) -> Result<(), String> {
    let mut traces = Vec::new();
    for seed in ["1", "2", "3"] {
        for _ in 0..2 {
            let this = std::env::current_exe().map_err(|e| e.to_string())?;
            let run = Command::new(this)
                .args(["--case", name, seed])
                .output()
                .map_err(|e| e.to_string())?;
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            match run.status.success() {
                true => traces.push(said),
                false => {
                    return Err(format!(
                        "seed {seed}: {said}{}",
                        String::from_utf8_lossy(&run.stderr)
                    ));
                }
            }
        }
    }
    for pair in traces.chunks(2) {
        if pair[0] != pair[1] {
            return Err(format!("not the same twice:\n{}\n{}", pair[0], pair[1]));
        }
    }
    match traces[0] != traces[2] {
        true => Ok(()),
        false => Err("two seeds did the same".to_owned()),
    }
}

fn simulate(case: fn(), seed: u64) -> ! {
    let settings = Settings {
        seed,
        pace: Pace {
            turn: 30 * MICROSECOND,
            slow_turns: 5,
            slow_turn: 10 * MILLISECOND,
            way: (100 * MICROSECOND, 2 * MILLISECOND),
            preemptions: 30,
        },
        lines: 100,
        echo: false,
        hung: |waits| {
            eprintln!("nothing can happen any more:\n{waits}");
            leave(3);
        },
    };
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        leave(2);
    }));
    kernel::run(settings, move || {
        case();
        kernel::steadily(|| println!("{:016x} at {}", kernel::trace(), kernel::now()));
    });
    leave(0)
}

fn leave(code: i32) -> ! {
    drop(std::io::stdout().flush());
    // SAFETY: it ends the process, in which other threads stand still.
    unsafe { libc::_exit(code) }
}

fn start(host: Host, main: impl FnOnce() + Send + 'static) -> Process {
    Process::start("process", host, Clock::default(), main)
}

fn a_day_passes_at_once() {
    let (began, day) = (Instant::now(), Duration::from_secs(86_400));
    thread::sleep(day);
    assert!(began.elapsed() >= day && began.elapsed() < day + Duration::from_secs(1));
}

fn threads_take_turns_by_the_seed() {
    let (sender, receiver) = mpsc::channel();
    let lock = Arc::new((Mutex::new(0), Condvar::new()));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (sender, lock) = (sender.clone(), lock.clone());
            thread::spawn(move || {
                for turn in 0..20 {
                    *lock.0.lock().unwrap() += 1;
                    lock.1.notify_all();
                    sender.send((number, turn)).unwrap();
                    thread::yield_now();
                }
            })
        })
        .collect();
    let reached = lock.1.wait_while(lock.0.lock().unwrap(), |count| *count < 80);
    assert_eq!(*reached.unwrap(), 80);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(sender);
    let order: Vec<(i32, i32)> = receiver.iter().collect();
    assert_eq!(order.len(), 80);
    // A hash map's order is chosen by the seed too.
    let map: std::collections::HashMap<i32, i32> = order.iter().copied().collect();
    kernel::log(&format!("{order:?} {map:?}"));
}

fn a_thread_that_is_woken_in_time_was_not_late() {
    for _ in 0..200 {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        let waits = thread::spawn(move || receiver.recv_timeout(Duration::from_millis(5)));
        let is_sent = sender.send_timeout((), Duration::from_millis(5)).is_ok();
        assert_eq!(waits.join().unwrap().is_ok(), is_sent);
    }
}

fn clocks_differ_and_drift() {
    let ahead = Arc::new(AtomicU32::new(0));
    let theirs = ahead.clone();
    let clock = Clock {
        began: Clock::default().began + 3600 * 1_000_000_000,
        drift: 10_000_000,
    };
    let before = SystemTime::now();
    Process::start("fast", CLIENT, clock, move || {
        thread::sleep(Duration::from_secs(1000));
        let passed = SystemTime::now().duration_since(before).unwrap().as_secs();
        theirs.store(passed as u32, Ordering::SeqCst);
    });
    thread::sleep(Duration::from_secs(995));
    let passed = ahead.load(Ordering::SeqCst);
    // An hour fast, and by a second in a hundred more: it has slept for 990 of ours.
    assert!((4600..4602).contains(&passed), "{passed}");
}

/// Answers each byte with the same.
fn echo() {
    let listener = TcpListener::bind(format!("{SERVER}:7")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        thread::spawn(move || {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        });
    }
}

fn connect() -> TcpStream {
    loop {
        match TcpStream::connect(format!("{SERVER}:7")) {
            Ok(stream) => return stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn the_killed() {
    let beats = Arc::new(AtomicU32::new(0));
    let theirs = beats.clone();
    let server = start(SERVER, move || {
        thread::spawn(echo);
        loop {
            theirs.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(10));
        }
    });
    let broken = Arc::new(AtomicU32::new(0));
    let theirs = broken.clone();
    start(CLIENT, move || {
        let mut stream = connect();
        let mut byte = [7];
        stream.write_all(&byte).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
        let error = stream.read_exact(&mut byte).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        theirs.store(1, Ordering::SeqCst);
        connect();
    });
    thread::sleep(Duration::from_secs(1));
    server.kill();
    let before = beats.load(Ordering::SeqCst);
    assert!(before > 50, "{before}");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(beats.load(Ordering::SeqCst), before);
    assert_eq!(broken.load(Ordering::SeqCst), 1);
}

fn the_frozen_stand_still() {
    let beats = Arc::new(AtomicU32::new(0));
    let theirs = beats.clone();
    let process = start(SERVER, move || {
        loop {
            theirs.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(10));
        }
    });
    thread::sleep(Duration::from_secs(1));
    process.freeze(2 * SECOND);
    let before = beats.load(Ordering::SeqCst);
    thread::sleep(Duration::from_millis(1900));
    assert_eq!(beats.load(Ordering::SeqCst), before);
    thread::sleep(Duration::from_secs(1));
    assert!(beats.load(Ordering::SeqCst) > before + 50);
}

fn what_is_sent_over_a_cut_link_arrives_later() {
    start(SERVER, echo);
    let answered = Arc::new(Mutex::new(Vec::new()));
    let theirs = answered.clone();
    start(CLIENT, move || {
        let mut stream = connect();
        for number in 0..10 {
            stream.write_all(&[number]).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            kernel::steadily(|| theirs.lock().unwrap().push((byte[0], kernel::now())));
            thread::sleep(Duration::from_millis(100));
        }
    });
    thread::sleep(Duration::from_millis(450));
    CLIENT.cut(SERVER);
    thread::sleep(Duration::from_secs(5));
    CLIENT.heal(SERVER);
    thread::sleep(Duration::from_secs(3));
    let answered = kernel::steadily(|| answered.lock().unwrap().clone());
    let numbers: Vec<u8> = answered.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<u8>>());
    let longest = answered
        .windows(2)
        .map(|pair| pair[1].1 - pair[0].1)
        .max()
        .unwrap();
    assert!(longest > 4 * SECOND, "{longest}");
}

fn tokio_works_over_simulated_sockets() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    };
    start(SERVER, echo);
    let done = Arc::new(AtomicU32::new(0));
    let theirs = done.clone();
    start(CLIENT, move || {
        runtime().block_on(async {
            let all = (0..5u8).map(|number| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let mut stream = tokio::net::TcpStream::connect(format!("{SERVER}:7"))
                        .await
                        .unwrap();
                    let sent: Vec<u8> = (0..2000).map(|i| (i as u8).wrapping_mul(number)).collect();
                    stream.write_all(&sent).await.unwrap();
                    let mut received = vec![0; sent.len()];
                    stream.read_exact(&mut received).await.unwrap();
                    assert_eq!(sent, received);
                    tokio::task::spawn_blocking(|| thread::sleep(Duration::from_millis(50)))
                        .await
                        .unwrap();
                })
            });
            for task in all.collect::<Vec<_>>() {
                task.await.unwrap();
                theirs.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    thread::sleep(Duration::from_secs(60));
    assert_eq!(done.load(Ordering::SeqCst), 5);
}

fn rocksdb_flushes_in_simulated_threads() {
    use millrace_state::keyed::{KeyedStore, Limits};
    let folder = std::env::temp_dir().join(format!("millrace-kernel-{}", std::process::id()));
    let limits = Limits::new(8 << 20);
    let store = KeyedStore::open(&folder.join("store"), &limits).unwrap();
    let (family, _) = store.family("rows").unwrap();
    // More snapshots than files are left alone: some are merged.
    for round in 0..12u32 {
        let key = (round % 3).to_be_bytes();
        let puts = [((0, &key[..]), &[1u8; 64][..])];
        store
            .write(&family, puts.into_iter(), std::iter::empty())
            .unwrap();
        let links = folder.join(format!("links-{round}"));
        store.link_files(&links).unwrap();
        thread::sleep(Duration::from_millis(100));
        let mut names: Vec<String> = std::fs::read_dir(&links)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        kernel::log(&format!("{names:?}"));
    }
    drop(store);
    std::fs::remove_dir_all(&folder).unwrap();
}
