//! Every way in which a connection to Redis is known to fail: the queue is at work meanwhile, and
//! goes on by itself when the fault is over. `faults.rs` has what the programs above it do.

use super::{crew::Crew, *};

async fn at_work(server: &Server) -> Crew {
    let crew = Crew::start(Redis::open(&server.url()).await.unwrap());
    crew.goes_on("before").await;
    crew
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_orderly_restart_and_after_a_kill() {
    let mut server = Server::start();
    let crew = at_work(&server).await;

    server.shut_down();
    crew.stalls().await;
    server.up();
    crew.goes_on("after the restart").await;

    server.kill();
    crew.stalls().await;
    server.up();
    crew.goes_on("after the kill").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_scripts_or_keys_or_everything_was_lost() {
    let server = Server::start();
    let crew = at_work(&server).await;

    for words in [
        &["SCRIPT", "FLUSH"][..],
        &["DEL", "{bf:tasks}:q"],
        &["DEL", "{bf:tasks}:m"],
        &["DEL", "{bf:tasks}:h"],
        &["DEL", "{bf:tasks}:b"],
        &["SET", "{bf:tasks}:q", "no list"],
    ] {
        server.command::<redis::Value>(words);
        if words[0] == "SET" {
            crew.stalls().await;
            server.command::<()>(&["FLUSHALL"]);
        }
        crew.goes_on(&words.join(" ")).await;
    }
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_connections_were_cut_while_they_waited_and_while_they_did_not() {
    let server = Server::start();
    let crew = at_work(&server).await;

    for kind in ["normal", "pubsub"] {
        assert!(server.command::<u64>(&["CLIENT", "KILL", "TYPE", kind]) >= 1);
        crew.goes_on(&format!("without its {kind} connections")).await;
    }
    crew.end().await;

    // A reader that waits, and nothing else.
    let queue = Arc::new(Redis::open(&server.url()).await.unwrap());
    server.command::<()>(&["FLUSHALL"]);
    let mut reading = JoinSet::new();
    reading.spawn({
        let queue = queue.clone();
        async move { queue.take(Lane::Tasks, draw::id(), 1, Duration::from_secs(20)).await }
    });
    let waiting = async || -> Option<String> {
        let clients: String = server.command(&["CLIENT", "LIST"]);
        let line = clients.lines().find(|line| line.contains("cmd=blpop"))?.to_owned();
        line.split([' ', '=']).nth(1).map(str::to_owned)
    };
    until("it waits", async || waiting().await.is_some()).await;
    let id = waiting().await.unwrap();
    assert_eq!(server.command::<u64>(&["CLIENT", "KILL", "ID", &id]), 1);
    assert!(reading.join_next().await.unwrap().unwrap().is_err(), "it is told so at once");
    let crew = Crew::start(Redis::open(&server.url()).await.unwrap());
    crew.goes_on("with others").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_that_is_longer_than_anybody_waits() {
    let server = Server::start();
    let crew = at_work(&server).await;

    server.command::<()>(&["CLIENT", "PAUSE", "6500", "ALL"]);
    crew.stalls().await;

    crew.goes_on("after the pause").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_memory_ran_out() {
    let server = Server::start();
    let crew = at_work(&server).await;

    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    crew.stalls().await;
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);

    crew.goes_on("with memory again").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_server_was_a_replica_for_a_while() {
    let server = Server::start();
    let crew = at_work(&server).await;

    // Of nobody: it reads, and refuses to write.
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    crew.stalls().await;
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]);

    crew.goes_on("as a master again").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_password_was_another_for_a_while() {
    let server = Server::start();
    let mut admin = server.connection();
    let mut say = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query::<redis::Value>(&mut admin).unwrap()
    };
    say(&["CONFIG", "SET", "requirepass", "first"]);
    let url = server.url().replace("redis://", "redis://:first@");
    let crew = Crew::start(Redis::open(&url).await.unwrap());
    crew.goes_on("with the password").await;

    say(&["AUTH", "first"]);
    say(&["CONFIG", "SET", "requirepass", "second"]);
    say(&["CLIENT", "KILL", "TYPE", "normal"]);
    crew.stalls().await;
    say(&["CONFIG", "SET", "requirepass", "first"]);

    crew.goes_on("with the first password again").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_server_let_in_nobody_else_for_a_while() {
    let server = Server::start();
    let crew = at_work(&server).await;
    let mut admin = server.connection();
    let mut limit = |most: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxclients").arg(most).query::<()>(&mut admin).unwrap();
        if most == "1" {
            let mut cut = redis::cmd("CLIENT");
            cut.arg("KILL").arg("TYPE").arg("normal").query::<u64>(&mut admin).unwrap();
        }
    };

    limit("1");
    crew.stalls().await;
    limit("1000");

    crew.goes_on("with room again").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_start_before_the_server() {
    let mut server = Server::start();
    server.kill();
    let crew = Crew::start(Redis::open(&server.url()).await.unwrap());
    crew.stalls().await;

    server.up();

    crew.goes_on("with the server up").await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_for_a_server_that_is_silent_wait_no_longer_than_one() {
    // It takes connections in and never says a word.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let queue = Redis::open(&url).await.unwrap();
    let begun = Instant::now();

    let asking = (0..50).map(|_| queue.ping());
    let answers = futures_util::future::join_all(asking).await;

    assert!(answers.iter().all(Result::is_err));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
