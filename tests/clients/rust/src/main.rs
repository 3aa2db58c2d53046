//! The `memcache` crate against the server on 127.0.0.1:PORT (the one argument): every verb it has.

use memcache::{Client, MemcacheError};
use std::collections::HashMap;

fn main() -> Result<(), MemcacheError> {
    let port = std::env::args().nth(1).expect("the port");
    let client = Client::connect(format!("memcache://127.0.0.1:{port}?timeout=5&protocol=ascii"))?;
    assert!(client.version()?[0].1.starts_with("1.6.45"));

    client.set("rs:a", "value", 0)?;
    assert_eq!(client.get::<String>("rs:a")?.as_deref(), Some("value"));
    // The crate does not tell whether an add or a replace stored.
    client.add("rs:a", "other", 0)?;
    assert_eq!(client.get::<String>("rs:a")?.as_deref(), Some("value"));
    client.replace("rs:a", "next", 100)?;
    client.append("rs:a", "!")?;
    client.prepend("rs:a", "the ")?;
    assert_eq!(client.get::<String>("rs:a")?.as_deref(), Some("the next!"));

    let with_cas: HashMap<String, (Vec<u8>, u32, Option<u64>)> = client.gets(&["rs:a"])?;
    let cas = with_cas["rs:a"].2.expect("gets shows it");
    assert!(client.cas("rs:a", "swapped", 0, cas)?);
    assert!(!client.cas("rs:a", "again", 0, cas)?, "the unique has changed");

    client.set("rs:n", 10, 0)?;
    assert_eq!(client.increment("rs:n", 5)?, 15);
    assert_eq!(client.decrement("rs:n", 1)?, 14);
    assert!(client.touch("rs:a", 100)?);
    let many: HashMap<String, Vec<u8>> = client.gets(&["rs:a", "rs:n", "rs:none"])?;
    assert_eq!(many.len(), 2);
    assert!(client.delete("rs:a")?);
    assert_eq!(client.get::<String>("rs:a")?, None);
    client.flush()?;
    assert_eq!(client.get::<u64>("rs:n")?, None);
    println!("the memcache crate: every verb as it should be");
    Ok(())
}
