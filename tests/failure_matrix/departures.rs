//! Clients that leave at random moments: before the head of the answer, while they wait, in the middle of the pictures;
//! alone and together with others who want the same. Afterwards nothing of them is left.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::easel::{Easel, PATIENCE};
use crate::leaks::{KEY, KEY_VARIABLE};
use crate::vendors;

/// Clients at once.
const AT_ONCE: usize = 48;
/// Clients of one round in which it is measured how soon an upstream is let go.
const ROUND: usize = 8;
/// How soon that must be after the last of them has left.
const LET_GO: Duration = Duration::from_secs(1);
/// Calls that `narrow` may have at once.
const WIDTH: usize = 4;
/// What memory may be above its floor in the end, in bytes: the allocator gives back what it likes.
const MARGIN: u64 = 24 << 20;

/// The upstreams, each behind the provider of its name.
struct Upstreams {
    /// Never answers.
    hang: Simulator,
    /// Answers after a while.
    slow: Simulator,
    /// Answers with pictures that take their time to be sent.
    large: Simulator,
    /// Its work is finished although everybody has left.
    finish: Simulator,
    /// May be asked by few at once.
    narrow: Simulator,
    /// Hangs, and is asked by one round of clients at a time.
    watched: Simulator,
}

impl Upstreams {
    async fn start() -> Self {
        let slow = |milliseconds| Behaviour::slow(Duration::from_millis(milliseconds)).with_key(KEY);
        let start = async |behaviour: Behaviour| {
            let upstream = Simulator::start().await;
            upstream.set(behaviour);
            upstream
        };
        Self {
            hang: start(Behaviour::failing(Fault::Hang).with_key(KEY)).await,
            slow: start(slow(40)).await,
            large: start(slow(10).with_bytes(400 << 10)).await,
            finish: start(slow(60)).await,
            narrow: start(slow(20)).await,
            watched: start(Behaviour::failing(Fault::Hang).with_key(KEY)).await,
        }
    }

    fn all(&self) -> [(&'static str, &Simulator); 6] {
        let Self { hang, slow, large, finish, narrow, watched } = self;
        [("hang", hang), ("slow", slow), ("large", large), ("finish", finish), ("narrow", narrow), ("watched", watched)]
    }

    fn config(&self) -> String {
        // Little is kept, so that memory has a floor.
        let mut config = format!("{}cache.max_bytes = \"2 MiB\"\n", vendors::BASE);
        for (priority, (name, upstream)) in self.all().into_iter().enumerate() {
            let more = match name {
                "finish" => ", on_disconnect = \"finish\"".to_owned(),
                "narrow" => format!(", max_concurrent = {WIDTH}, max_wait = \"20s\""),
                _ => String::new(),
            };
            let policy = format!("timeout = \"60s\", attempts = 2{more}");
            config += &vendors::section(name, Vendor::OpenAi, upstream, priority + 1, &policy, "");
        }
        config
    }

    /// Connections that Easel keeps open to them.
    fn connections(&self) -> usize {
        self.all().iter().map(|(_, upstream)| upstream.live_connections()).sum()
    }
}

/// Numbers that are spread evenly and the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// When a client leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaves {
    /// After this long, whatever has come by then.
    After(Duration),
    /// In the middle of the answer.
    MidAnswer,
    /// When it has its pictures.
    Never,
}

/// One client.
#[derive(Debug, Clone)]
struct Client {
    wish: Value,
    leaves: Leaves,
}

fn client(dice: &mut Dice, number: usize) -> Client {
    let provider = ["hang", "slow", "slow", "large", "large", "finish", "narrow", "narrow"][place(dice, 8)];
    let is_shared = dice.below(2) == 0;
    // Pictures that others want, too, or its own; with a seed, or not.
    let prompt = if is_shared { format!("a fox {}", dice.below(6)) } else { format!("a fox, number {number}") };
    let mut wish = json!({ "prompt": prompt, "provider": provider, "fallback": "never", "size": "64x48" });
    if provider == "large" {
        wish["size"] = json!("512x512");
    }
    if dice.below(3) > 0 {
        wish["seed"] = json!(if is_shared { 7 } else { number });
    }
    let leaves = match dice.below(8) {
        0 => Leaves::After(Duration::ZERO),
        1 | 2 if provider != "hang" => Leaves::Never,
        3 | 4 if provider == "large" => Leaves::MidAnswer,
        _ => Leaves::After(Duration::from_millis(dice.below(100))),
    };
    Client { wish, leaves }
}

fn place(dice: &mut Dice, limit: u64) -> usize {
    usize::try_from(dice.below(limit)).unwrap()
}

async fn connect(easel: &Easel, wish: &Value) -> TcpStream {
    let (body, port) = (wish.to_string(), easel.port());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "POST /api/generate-image HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

/// Lives through one client; what it has got, if it has stayed.
async fn live(easel: &Easel, client: &Client) -> Option<String> {
    let mut stream = connect(easel, &client.wish).await;
    let mut answer = Vec::new();
    match client.leaves {
        Leaves::After(patience) => {
            let _ = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
            return None;
        }
        Leaves::MidAnswer => {
            let mut some = [0; 4096];
            stream.read_exact(&mut some).await.unwrap();
            return None;
        }
        Leaves::Never => {
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
        }
    }
    Some(String::from_utf8(answer).unwrap())
}

/// Clients that all leave: some want the same, some do not. How long the upstream was held after the last one had left.
async fn round(easel: &Easel, watched: &Simulator, dice: &mut Dice, number: usize) -> Duration {
    let wish = |at: usize| {
        let mut wish = json!({ "prompt": format!("round {number}"), "provider": "watched", "size": "64x48" });
        match at {
            0..3 => wish["seed"] = json!(number),
            3..5 => wish["seed"] = json!(number + 1_000_000),
            _ => {}
        }
        wish
    };
    let wishes: Vec<Value> = (0..ROUND).map(wish).collect();
    let clients: Vec<TcpStream> = join_all(wishes.iter().map(|wish| connect(easel, wish))).await;
    // Two that are shared, and those without a seed.
    let flights = 2 + ROUND - 5;
    assert!(watched.settles(PATIENCE, |counts| counts.in_flight == flights).await, "{:?}", watched.counts());
    let leaving = clients.into_iter().map(|client| {
        let patience = Duration::from_millis(dice.below(60));
        async move {
            tokio::time::sleep(patience).await;
            drop(client);
        }
    });
    join_all(leaving.collect::<Vec<_>>()).await;
    let left = Instant::now();
    let is_let_go = watched.settles(PATIENCE, |counts| counts.in_flight == 0).await;
    assert!(is_let_go, "{:?}", watched.counts());
    left.elapsed()
}

/// A figure of `GET /metrics`.
async fn figure(easel: &Easel, name: &str) -> u64 {
    let text = String::from_utf8(easel.get("/metrics").await.bytes).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}: {text}"))
}

/// Waits until nothing is under way, in Easel and at its upstreams.
async fn settle(easel: &Easel, upstreams: &Upstreams) {
    let begun = Instant::now();
    loop {
        let flights = figure(easel, "easel_flights").await;
        let busy: Vec<_> = upstreams
            .all()
            .into_iter()
            .filter(|(_, upstream)| upstream.in_flight() > 0)
            .map(|(name, _)| name)
            .collect();
        if flights == 0 && busy.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{flights} flights are left, and {busy:?} are busy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Memory in use now, in bytes.
fn memory(easel: &Easel) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", easel.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Files and connections that are open, but for the connections to upstreams, which are kept to be used again.
fn open_files(easel: &Easel, upstreams: &Upstreams) -> usize {
    let all = std::fs::read_dir(format!("/proc/{}/fd", easel.process())).unwrap().count();
    all.saturating_sub(upstreams.connections())
}

/// Waits until so many are open, or fewer.
async fn closes(easel: &Easel, upstreams: &Upstreams, most: usize) -> bool {
    crate::easel::eventually(Duration::from_secs(20), || open_files(easel, upstreams) <= most).await
}

/// Sends `clients` on their way; how many have stayed.
async fn crowd(easel: &Easel, clients: &[Client]) -> usize {
    let lives = stream::iter(clients).map(|client| async move { (client, live(easel, client).await) });
    let ended: Vec<_> = lives.buffer_unordered(AT_ONCE).collect().await;
    let mut stayed = 0;
    for (client, answer) in ended {
        if let Some(answer) = answer {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{client:?}: {answer:.600}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{client:?}: {error}"));
            assert_eq!(body["images"].as_array().map(Vec::len), Some(1), "{client:?}");
            stayed += 1;
        }
    }
    stayed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_clients_that_leave() {
    let _turn = crate::TURN.lock().await;
    let (begun, all) = (Instant::now(), crate::count(300, 10_000));
    let upstreams = Upstreams::start().await;
    let easel = Easel::start_with(&upstreams.config(), &[(KEY_VARIABLE, KEY)]).await;
    let mut dice = Dice(all as u64);
    let rounds = all / 20 / ROUND;
    let clients: Vec<Client> = (0..all - rounds * ROUND).map(|number| client(&mut dice, number)).collect();

    // What a process needs once it has done everything for a while is its floor.
    let (first, others) = clients.split_at(clients.len() / 5);
    let mut stayed = crowd(&easel, first).await;
    settle(&easel, &upstreams).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (floor, files) = (memory(&easel), open_files(&easel, &upstreams));

    let watched = async {
        let mut longest = Duration::ZERO;
        for number in 0..rounds {
            longest = longest.max(round(&easel, &upstreams.watched, &mut dice, number).await);
        }
        longest
    };
    let (more, longest) = tokio::join!(crowd(&easel, others), watched);
    stayed += more;
    settle(&easel, &upstreams).await;

    assert!(longest <= LET_GO, "an upstream was held for {longest:?} after the last client had left");
    assert!(
        closes(&easel, &upstreams, files + 4).await,
        "{files} were open, and now {}",
        open_files(&easel, &upstreams)
    );
    let finished = upstreams.finish.counts();
    assert_eq!(finished.abandoned, 0, "what is to be finished was given up: {finished:?}");
    for (name, upstream) in [("hang", &upstreams.hang), ("slow", &upstreams.slow)] {
        assert!(upstream.counts().abandoned > 0, "nobody has left {name} in time: {:?}", upstream.counts());
    }
    serves_at_full_width(&easel, &upstreams.narrow).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rest = memory(&easel);
    println!(
        "report: departures: {all} clients, {stayed} stayed; upstreams let go after {} ms at most; memory {} MiB, floor \
         {} MiB, peak {} MiB; in {:.0} s",
        longest.as_millis(),
        rest >> 20,
        floor >> 20,
        easel.peak_memory() >> 20,
        begun.elapsed().as_secs_f64()
    );
    assert!(rest <= floor + MARGIN, "memory stays at {rest} bytes, and the floor was {floor}");
}

/// Every place that the provider has is free again.
async fn serves_at_full_width(easel: &Easel, narrow: &Simulator) {
    let health = easel.get("/api/image-providers/health").await.body;
    let provider =
        health["providers"].as_array().unwrap().iter().find(|provider| provider["name"] == "narrow").unwrap();
    let limit = &provider["rate_limit"];
    assert_eq!((&limit["places_left"], &limit["waiting"]), (&json!(WIDTH), &json!(0)), "{health}");
    narrow.set(Behaviour::slow(Duration::from_millis(400)).with_key(KEY));
    let wish = json!({ "prompt": "a fox", "provider": "narrow", "size": "64x48" });
    let asked = join_all((0..WIDTH).map(|_| easel.generate(&wish)));
    let (answers, is_full) = tokio::join!(asked, narrow.settles(PATIENCE, |counts| counts.in_flight == WIDTH));
    assert!(is_full && answers.iter().all(|answer| answer.status == 200), "{:?}", narrow.counts());
}
