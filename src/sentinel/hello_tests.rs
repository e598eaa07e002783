#![forbid(unsafe_code)]

use super::hello::Hello;

const ID: &str = "1111111111111111111111111111111111111111";

#[test]
fn eight_fields() {
    let text = format!("10.0.0.1,26379,{ID},7,mymaster,10.0.0.2,6379,5");
    let expected = Hello {
        ip: b"10.0.0.1",
        port: 26379,
        runid: ID.as_bytes(),
        current_epoch: 7,
        master_name: b"mymaster",
        master_ip: b"10.0.0.2",
        master_port: 6379,
        master_config_epoch: 5,
    };
    assert_eq!(Hello::parse(text.as_bytes()), Some(expected));
}

#[test]
fn good_ones() {
    for text in [
        format!("::1,26379,{ID},0,m,::1,6379,0"),
        format!("host.example,1,{ID},4611686018427387904,m,host.example,65535,0"),
        // Looked at where they are used: the sender without an address is not taken.
        format!(",26379,{ID},0,m,10.0.0.2,6379,0"),
        format!("10.0.0.1,0,{ID},0,m,10.0.0.2,6379,0"),
        format!("10.0.0.1,26379,{ID},0,m,,0,0"),
        format!("10.0.0.1,26379,{ID},0,,10.0.0.2,6379,0"),
        "10.0.0.1,26379,short,0,m,10.0.0.2,6379,0".to_string(),
    ] {
        assert!(Hello::parse(text.as_bytes()).is_some(), "{text}");
    }
}

#[test]
fn bad_ones() {
    let long_host = "h".repeat(256);
    for text in [
        String::new(),
        ",".to_string(),
        ",,,,,,,".to_string(),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,5,"),
        format!("10.0.0.1,26379,{ID},7,m,n,10.0.0.2,6379,5"),
        format!("10.0.0.1,65536,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,-1,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},-1,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},18446744073709551616,m,10.0.0.2,6379,5"),
        // Epochs that would leave no room for elections, in either place.
        format!("10.0.0.1,26379,{ID},4611686018427387905,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},18446744073709551615,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,4611686018427387905"),
        format!("10.0.0.1,26379,{ID},x,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,x,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,5 "),
        format!("10.0.0.1,26379,{ID}0,7,m,10.0.0.2,6379,5"),
        "10.0.0.1,26379,,7,m,10.0.0.2,6379,5".to_string(),
        // Nothing that could break a config line, a log line or a script's argument.
        format!("10.0.0.1\n,26379,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2\r\nx,6379,5"),
        format!("10 0,26379,{ID},7,m,10.0.0.2,6379,5"),
        "10.0.0.1,26379,1111 11,7,m,10.0.0.2,6379,5".to_string(),
        format!("{long_host},26379,{ID},7,m,10.0.0.2,6379,5"),
    ] {
        assert_eq!(Hello::parse(text.as_bytes()), None, "{text:?}");
    }
}
