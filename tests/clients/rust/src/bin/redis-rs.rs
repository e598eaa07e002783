//! redis-rs: its sentinel client with asynchronous connections, and a blocking one for events.
#![forbid(unsafe_code)]

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncCommands, Client, ConnectionAddr, ProtocolVersion, RedisResult};
use sentineld_test_clients::{PAUSE, Task, now_ms, tell, tell_discovered, tell_version};
use std::collections::HashMap;

#[tokio::main]
async fn main() -> RedisResult<()> {
    let task = Task::from_env();
    tell_version("redis");
    let mut masters = client(&task, SentinelServerType::Master)?;
    let mut replicas = client(&task, SentinelServerType::Replica)?;
    let sentinel = masters.async_get_sentinel_client().await?;
    discover(&task, &sentinel, &mut masters).await?;

    let mut replica = replicas.get_async_connection().await?;
    let role: String = redis::cmd("INFO").arg("replication").query_async(&mut replica).await?;
    assert!(role.contains("role:slave"), "{role}");
    std::thread::spawn(move || listen(&sentinel).expect("events"));

    let mut connection = masters.get_async_connection().await?;
    while !task.is_over() {
        let outcome = connection.incr::<_, _, i64>("counter", 1).await;
        let failed = outcome.is_err();
        tell(outcome.map_err(|error| error.to_string()));
        tokio::time::sleep(PAUSE).await;
        if failed && let Ok(new) = masters.get_async_connection().await {
            connection = new;
        }
    }
    println!("after {}", masters.async_get_client().await?.get_connection_info().addr());
    Ok(())
}

fn client(task: &Task, server_type: SentinelServerType) -> RedisResult<SentinelClient> {
    let addresses = task.sentinels.iter().cloned();
    let addresses = addresses.map(|(host, port)| ConnectionAddr::Tcp(host, port));
    let protocol = if task.resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    let mut builder = SentinelClientBuilder::new(addresses, task.master.clone(), server_type)?
        .set_client_to_sentinel_protocol(protocol)
        .set_client_to_redis_protocol(protocol);
    if let Some(user) = &task.sentinel_user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &task.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(password) = &task.data_password {
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build()
}

async fn discover(task: &Task, sentinel: &Client, masters: &mut SentinelClient) -> RedisResult<()> {
    let mut questions = sentinel.get_multiplexed_async_connection().await?;
    let mut ask = async |what: &str| -> RedisResult<Vec<HashMap<String, String>>> {
        redis::cmd("SENTINEL").arg(what).arg(&task.master).query_async(&mut questions).await
    };
    let replicas = ask("REPLICAS").await?;
    let peers = ask("SENTINELS").await?;
    let master = masters.async_get_client().await?.get_connection_info().addr().to_string();
    let ports = replicas.iter().map(|fields| fields["port"].parse().expect("a port")).collect();
    tell_discovered(&master, ports, peers.len());
    Ok(())
}

/// Prints events until the program ends.
fn listen(sentinel: &Client) -> RedisResult<()> {
    let mut connection = sentinel.get_connection()?;
    let mut events = connection.as_pubsub();
    events.subscribe("+switch-master")?;
    println!("subscribed");
    loop {
        let message = events.get_message()?;
        let text: String = message.get_payload()?;
        println!("event {} {} {text}", now_ms(), message.get_channel_name());
    }
}
