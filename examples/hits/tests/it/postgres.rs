//! The count in a real PostgreSQL, with a real Redis in front.

use crate::app::{App, Process, count_together, until};
use crate::servers::Server;
use futures_util::future::join_all;

fn database_url(postgres: &Server) -> String {
    format!("postgres://hits@127.0.0.1:{}/postgres", postgres.port)
}

fn redis_url(redis: &Server) -> String {
    format!("redis://127.0.0.1:{}", redis.port)
}

async fn cached(redis: &Server) -> Option<i64> {
    let client = redis::Client::open(redis_url(redis)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("GET").arg("hits:count").query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn replicas_that_start_together_share_one_count_and_cache_it() {
    let directory = tempfile::tempdir().unwrap();
    let (postgres, redis) = tokio::join!(Server::postgres(), Server::redis());
    let (database, cache) = (database_url(&postgres), redis_url(&redis));
    let environment = [("DATABASE_URL", database.as_str()), ("REDIS_URL", cache.as_str())];
    let apps = join_all((0..4).map(|_| App::start(&environment, directory.path()))).await;
    count_together(&apps, 50).await;
    assert_eq!(cached(&redis).await, Some(200));
    let page = apps[0].get("/").await;
    assert!(page.text().contains("PostgreSQL, cached in Redis"), "{}", page.text());
}

#[tokio::test]
async fn many_may_make_the_table_at_the_same_moment() {
    let directory = tempfile::tempdir().unwrap();
    let postgres = Server::postgres().await;
    let database = database_url(&postgres);
    let start = || Process::start(&["migrate"], &[("DATABASE_URL", &database)], directory.path());
    let mut together: Vec<Process> = (0..16).map(|_| start()).collect();
    for process in &mut together {
        assert_eq!(process.ended().await.code(), Some(0), "{}", process.said());
    }
}

#[tokio::test]
async fn counting_goes_on_after_the_database_was_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut postgres = Server::postgres().await;
    let app = App::start(&[("DATABASE_URL", &database_url(&postgres))], directory.path()).await;
    assert_eq!((app.count().await, app.count().await), (1, 2));

    postgres.stop().await;
    let answer = app.get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(app.get("/health").await.status, 200, "no reason to take every replica out");

    postgres.start_again().await;
    until("the count is back", || async { app.load().await == 200 }).await;
    assert_eq!(app.count().await, 4, "what was refused was not counted");
}

#[tokio::test]
async fn it_waits_for_a_database_that_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut postgres = Server::postgres().await;
    postgres.stop().await;
    let app = App::start(&[("DATABASE_URL", &database_url(&postgres))], directory.path()).await;
    assert_eq!(app.load().await, 503);
    postgres.start_again().await;
    until("it counts", || async { app.load().await == 200 }).await;
    assert_eq!(app.count().await, 2);
}

#[tokio::test]
async fn counting_goes_on_without_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let (postgres, mut redis) = tokio::join!(Server::postgres(), Server::redis());
    let (database, cache) = (database_url(&postgres), redis_url(&redis));
    let environment = [("DATABASE_URL", database.as_str()), ("REDIS_URL", cache.as_str())];
    let mut app = App::start(&environment, directory.path()).await;
    assert_eq!(app.count().await, 1);
    assert_eq!(cached(&redis).await, Some(1));

    redis.stop().await;
    assert_eq!(app.count().await, 2);
    app.process.says("going on without the Redis cache").await;

    redis.start_again().await;
    until("the cache is used again", || async {
        let count = app.count().await;
        cached(&redis).await == Some(count)
    })
    .await;
    app.process.says("Redis answers again").await;
}

#[tokio::test]
async fn the_worker_reads_the_cached_count() {
    let directory = tempfile::tempdir().unwrap();
    let (postgres, redis) = tokio::join!(Server::postgres(), Server::redis());
    let (database, cache) = (database_url(&postgres), redis_url(&redis));
    let environment = [("DATABASE_URL", database.as_str()), ("REDIS_URL", cache.as_str())];
    let app = App::start(&environment, directory.path()).await;
    assert_eq!(app.count().await, 1);
    let client = redis::Client::open(cache.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("SET");
    set.arg("hits:count").arg(41);
    set.query_async::<()>(&mut connection).await.unwrap();
    let mut worker = Process::start(&["worker"], &environment, directory.path());
    worker.says("41 hits so far").await;
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_refused_without_showing_its_password() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (vec![("DATABASE_URL", "postgres://me:hunter2@host:port/x")], "DATABASE_URL cannot be read"),
        (
            vec![("DATABASE_URL", "postgres://me@127.0.0.1/x"), ("REDIS_URL", "http://:hunter2@host")],
            "REDIS_URL cannot be read",
        ),
    ];
    for (environment, words) in cases {
        let mut process = Process::start(&[], &environment, directory.path());
        assert_eq!(process.ended().await.code(), Some(1));
        let said = process.said();
        assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
    }
}
