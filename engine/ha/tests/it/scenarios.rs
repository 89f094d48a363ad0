//! What holds in either store.

use millrace_core::ErrorKind;
use millrace_core::ids::{CheckpointId, JobId};
use millrace_ha::{LeaderInfo, MAX_ENTRY};
use millrace_testkit::link::Link;
use millrace_testkit::wait;

use crate::contender::{Contender, LIMIT, Process, Record, wait_one};
use crate::site::{Site, cluster};

fn contenders(site: &dyn Site, cluster: &str, record: &Record) -> Vec<Contender> {
    let config = site.config(cluster, &[]);
    ["a", "b", "c"]
        .iter()
        .map(|name| Contender::start(&config, name, record))
        .collect()
}

/// The leader that others see.
fn info(contender: &Contender) -> LeaderInfo {
    LeaderInfo {
        session: contender.wait_leading().session(),
        addresses: contender.addresses.clone(),
    }
}

fn wait_told(process: &Process, leader: &LeaderInfo) {
    process.wait_leader(&format!("{leader:?} is told"), |told| {
        (told == Some(leader)).then_some(())
    });
}

/// Three contend; each that leads closes. Who looks for the leader sees each of them.
pub fn a_close_hands_over(site: &dyn Site) {
    let cluster = cluster("close");
    let record = Record::default();
    let mut contenders = contenders(site, &cluster, &record);
    let looking = Process::start(&site.config(&cluster, &[]));
    let mut led = Vec::new();
    while !contenders.is_empty() {
        let leader = wait_one(&contenders);
        let mut leader = contenders.swap_remove(leader);
        wait_told(&looking, &info(&leader));
        for other in &contenders {
            wait_told(&other.process, &info(&leader));
        }
        led.push(leader.wait_leading().session());
        leader.close();
        assert!(leader.leadership().is_none());
    }
    looking.wait_leader("nobody is told", |told| told.is_none().then_some(()));
    assert_eq!(record.check(), led);
}

/// A leader whose election is dropped gives up by itself; a contender that goes while another leads changes nothing.
pub fn a_drop_hands_over(site: &dyn Site) {
    let cluster = cluster("drop");
    let record = Record::default();
    let mut contenders = contenders(site, &cluster, &record);
    let leader = wait_one(&contenders);
    let mut leader = contenders.swap_remove(leader);
    let mut idle = contenders.pop().unwrap();
    idle.close();
    assert!(leader.leadership().is_some());
    leader.drop_election();
    contenders[0].wait_leading();
    leader.wait_not_leading();
    assert_eq!(record.check().len(), 2);
}

/// A leader dies without a word.
pub fn a_death_hands_over(site: &dyn Site) {
    let cluster = cluster("death");
    let record = Record::default();
    let mut contenders = contenders(site, &cluster, &record);
    let looking = Process::start(&site.config(&cluster, &[]));
    for _ in 0..2 {
        let leader = wait_one(&contenders);
        let leader = contenders.swap_remove(leader);
        wait_told(&looking, &info(&leader));
        leader.kill(&record);
    }
    wait_told(&looking, &info(&contenders[0]));
    assert_eq!(record.check().len(), 3);
}

/// A leader is cut off: it says that it does not lead before another one does. What it sends late is refused.
pub fn a_leader_that_is_cut_off_is_deposed(site: &dyn Site) {
    let cluster = cluster("cut");
    let record = Record::default();
    let links = site.links();
    let cut_off = Contender::start(&site.config(&cluster, &links), "a", &record);
    let deposed = cut_off.wait_leading();
    let job = JobId::from_name("j");
    cut_off.process.run(deposed.put_job(job, b"first")).unwrap();
    let mut other = Contender::start(&site.config(&cluster, &[]), "b", &record);
    links.iter().for_each(Link::cut);
    // On its way when the other one takes over, or before it: then that finds it.
    let (late, sent) = (deposed.clone(), job);
    let (told, answer) = std::sync::mpsc::channel();
    cut_off.process.spawn(async move {
        let _ = told.send(late.put_job(sent, b"late").await);
    });
    let leadership = other.wait_leading();
    assert!(cut_off.leadership().is_none());
    let entry = other.process.run(other.process.ha.jobs()).unwrap();
    assert_eq!(entry, [(job, b"first".to_vec())]);
    other.process.run(leadership.put_job(job, b"second")).unwrap();
    links.iter().for_each(Link::heal);
    let late = answer.recv_timeout(LIMIT).unwrap().unwrap_err();
    assert_ne!(late.kind(), ErrorKind::User, "{late}");
    for write in [
        cut_off.process.run(deposed.put_job(job, b"third")),
        cut_off
            .process
            .run(deposed.put_checkpoint(job, CheckpointId(1), b"third", 1)),
        cut_off.process.run(deposed.remove_job(job)),
    ] {
        let e = write.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    }
    let entry = other.process.run(other.process.ha.jobs()).unwrap();
    assert_eq!(entry, [(job, b"second".to_vec())]);
    // It contends again.
    other.close();
    let again = cut_off.wait_leading();
    assert_ne!(again.session(), deposed.session());
    cut_off.process.run(again.put_job(job, b"third")).unwrap();
    let e = cut_off.process.run(deposed.put_job(job, b"fourth")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    record.check();
}

/// Entries are there for the next leader, and for nobody of another cluster.
pub fn a_new_leader_finds_the_entries(site: &dyn Site) {
    let (one, two) = (cluster("entries"), cluster("entries"));
    let record = Record::default();
    let mut first = Contender::start(&site.config(&one, &[]), "a", &record);
    let leadership = first.wait_leading();
    let second = Contender::start(&site.config(&one, &[]), "b", &record);
    let stranger = Contender::start(&site.config(&two, &[]), "c", &Record::default());
    let (job, gone) = (JobId::from_name("j"), JobId::from_name("gone"));
    let large = vec![0xa5; MAX_ENTRY];
    first.process.run(async {
        leadership.put_job(job, b"1").await.unwrap();
        leadership.put_job(job, b"").await.unwrap();
        leadership.put_job(gone, &large).await.unwrap();
        for id in [1, 2, 10, 3] {
            let pointer = format!("chk-{id}");
            leadership
                .put_checkpoint(job, CheckpointId(id), pointer.as_bytes(), 3)
                .await
                .unwrap();
        }
        leadership
            .put_checkpoint(gone, CheckpointId(1), b"chk-1", 3)
            .await
            .unwrap();
        let e = leadership.put_job(job, &[large.as_slice(), b"x"].concat()).await;
        assert_eq!(e.unwrap_err().kind(), ErrorKind::User);
    });
    first.close();
    let leadership = second.wait_leading();
    let ha = &second.process.ha;
    second.process.run(async {
        let mut jobs = ha.jobs().await.unwrap();
        jobs.sort();
        let mut expected = [(job, Vec::new()), (gone, large)];
        expected.sort();
        assert_eq!(jobs, expected);
        let checkpoints = ha.checkpoints(job).await.unwrap();
        let expected = [2, 3, 10].map(|id| (CheckpointId(id), format!("chk-{id}").into_bytes()));
        assert_eq!(checkpoints, expected);
        leadership.remove_job(gone).await.unwrap();
        leadership.remove_job(gone).await.unwrap();
        assert_eq!(ha.jobs().await.unwrap(), [(job, Vec::new())]);
        assert_eq!(ha.checkpoints(gone).await.unwrap(), []);
    });
    stranger.wait_leading();
    let strangers = stranger.process.run(stranger.process.ha.jobs()).unwrap();
    assert_eq!(strangers, []);
    assert!(
        !site
            .contents(&one)
            .iter()
            .any(|name| name.contains(&gone.to_string()))
    );
}

/// A leader that has closed writes no more, though nobody else leads.
pub fn a_grant_that_is_over_writes_nothing(site: &dyn Site) {
    let cluster = cluster("over");
    let record = Record::default();
    let mut leader = Contender::start(&site.config(&cluster, &[]), "a", &record);
    let leadership = leader.wait_leading();
    leader.close();
    let job = JobId::from_name("j");
    let e = leader.process.run(leadership.put_job(job, b"x")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    assert_eq!(leader.process.run(leader.process.ha.jobs()).unwrap(), []);
}

/// Somebody deletes all of a cluster's data while it runs: one leads again, is told, and can write; what was deleted is
/// just not there.
pub fn data_deleted_by_hand_is_not_there(site: &dyn Site) {
    let cluster = cluster("deleted");
    let record = Record::default();
    let contenders = contenders(site, &cluster, &record);
    let looking = Process::start(&site.config(&cluster, &[]));
    let leader = &contenders[wait_one(&contenders)];
    let job = JobId::from_name("j");
    let leadership = leader.wait_leading();
    leader.process.run(async {
        leadership.put_job(job, b"x").await.unwrap();
        leadership
            .put_checkpoint(job, CheckpointId(1), b"chk-1", 1)
            .await
            .unwrap();
    });
    wait_told(&looking, &info(leader));
    site.delete(&cluster);
    assert_eq!(looking.run(looking.ha.jobs()).unwrap(), []);
    assert_eq!(looking.run(looking.ha.checkpoints(job)).unwrap(), []);
    // Whoever leads then, perhaps the same one with the same grant.
    let wrote = || {
        let leader = contenders.iter().find_map(|c| Some((c, c.leadership()?)));
        let Some((contender, leadership)) = leader else {
            return Ok(None);
        };
        contender.process.run(leadership.put_job(job, b"y"))?;
        let told = looking.ha.leader().borrow().clone();
        Ok(told.filter(|told| told.session == leadership.session()))
    };
    wait::until("a leader that writes and is told", LIMIT, wrote).unwrap();
    let jobs = looking.run(looking.ha.jobs()).unwrap();
    assert_eq!(jobs, [(job, b"y".to_vec())]);
    record.check();
}

/// A cluster that ends for good leaves nothing.
pub fn a_clean_up_leaves_nothing(site: &dyn Site) {
    let cluster = cluster("clean");
    let mut leader = Contender::start(&site.config(&cluster, &[]), "a", &Record::default());
    let leadership = leader.wait_leading();
    let job = JobId::from_name("j");
    leader.process.run(async {
        leadership.put_job(job, b"x").await.unwrap();
        leadership
            .put_checkpoint(job, CheckpointId(1), b"chk-1", 1)
            .await
            .unwrap();
    });
    assert!(!site.contents(&cluster).is_empty());
    leader.close_and_clean_up();
    assert_eq!(site.contents(&cluster), Vec::<String>::new());
}
