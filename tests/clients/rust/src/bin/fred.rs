//! fred: a client behind sentinels, and its sentinel client for questions and events.
#![forbid(unsafe_code)]

use fred::clients::SentinelClient;
use fred::prelude::*;
use fred::types::RespVersion;
use fred::types::config::{SentinelConfig, Server};
use sentineld_test_clients::{PAUSE, Task, now_ms, tell, tell_discovered, tell_version};
use std::collections::HashMap;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let task = Task::from_env();
    tell_version("fred");
    let client = client(&task)?;
    client.init().await?;
    let sentinel = sentinel(&task)?;
    sentinel.init().await?;
    discover(&task, &sentinel).await?;

    let mut messages = sentinel.message_rx();
    sentinel.subscribe("+switch-master").await?;
    println!("subscribed");
    tokio::spawn(async move {
        while let Ok(message) = messages.recv().await {
            let text: String = message.value.convert().expect("a text");
            println!("event {} {} {text}", now_ms(), message.channel);
        }
    });
    while !task.is_over() {
        tell(client.incr("counter").await.map_err(|error: Error| error.to_string()));
        tokio::time::sleep(PAUSE).await;
    }
    let questions = sentinel_for(&task, 1)?;
    questions.init().await?;
    let (host, port): (String, u16) = questions.get_master_addr_by_name(&*task.master).await?;
    println!("after {host}:{port}");
    Ok(())
}

fn client(task: &Task) -> Result<Client, Error> {
    let hosts = task.sentinels.iter().map(|(host, port)| Server::new(host, *port)).collect();
    let config = Config {
        server: ServerConfig::Sentinel {
            service_name: task.master.clone(),
            hosts,
            username: task.sentinel_user.clone(),
            password: task.sentinel_password.clone(),
        },
        version: if task.resp3 { RespVersion::RESP3 } else { RespVersion::RESP2 },
        password: task.data_password.clone(),
        ..Default::default()
    };
    Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(0, 50)).build()
}

fn sentinel(task: &Task) -> Result<SentinelClient, Error> {
    sentinel_for(task, 0)
}

fn sentinel_for(task: &Task, index: usize) -> Result<SentinelClient, Error> {
    let (host, port) = task.sentinels[index].clone();
    let config = SentinelConfig {
        host,
        port,
        username: task.sentinel_user.clone(),
        password: task.sentinel_password.clone(),
    };
    Builder::default_centralized().set_sentinel_config(config).build_sentinel_client()
}

async fn discover(task: &Task, sentinel: &SentinelClient) -> Result<(), Error> {
    let name = &*task.master;
    let (host, port): (String, u16) = sentinel.get_master_addr_by_name(name).await?;
    let replicas: Vec<HashMap<String, String>> = sentinel.replicas(name).await?;
    let peers: Vec<HashMap<String, String>> = sentinel.sentinels(name).await?;
    let ports = replicas.iter().map(|fields| fields["port"].parse().expect("a port")).collect();
    tell_discovered(&format!("{host}:{port}"), ports, peers.len());
    Ok(())
}
