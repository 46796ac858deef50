//! Text: every column that holds text from outside holds every character.

use round_robin_core::tables::{Accepted, Request};
use round_robin_core::types::MAX_MESSAGE_BYTES;

use crate::backend::{Backend, client, range, registered, request};
use crate::on_every_backend;

on_every_backend!(every_text_holds_every_character, every_character_is_stored_as_it_is, the_longest_text_is_stored);

/// Characters of one to four bytes in UTF-8, and those with a meaning in SQL, JSON and patterns.
const TEXT: &str = "a' \"b\" `c` \\ \\u0041 % _ ; -- é 日本 😀 \u{0301}\u{fffd} \0 \t end ";

async fn every_text_holds_every_character(backend: Backend) {
    let name = TEXT.replace(['\0', '\t'], "").trim().to_owned();
    let sent = Request { client: client(&name), counter: 1, message: TEXT.to_owned(), epoch: None };
    for _ in 0..2 {
        let accepted = backend.store.accept(std::slice::from_ref(&sent)).await.unwrap();
        assert!(matches!(&accepted[..], [Accepted::Stored(row)] if row.message == TEXT && row.client == sent.client));
    }
    let others = ["", " ", "A' \"b\"", &TEXT[..TEXT.len() - 1], &format!("{TEXT} ")];
    for other in others {
        let other = Request { message: other.to_owned(), ..sent.clone() };
        assert_eq!(backend.store.accept(&[other]).await.unwrap(), [Accepted::Conflict]);
    }
    let replica = registered(backend.store.as_ref(), TEXT).await.unwrap();
    let turn = backend.store.beat(replica).await.unwrap().turn;
    let all = range(&name, 1, 1);
    let served = backend.store.serve(replica, turn, std::slice::from_ref(&all), (None, 9)).await.unwrap().unwrap();
    assert_eq!(served.0.ranges, std::slice::from_ref(&all));
    let row = backend.store.message(&sent.client, 1).await.unwrap().unwrap();
    assert_eq!((row.message.as_str(), row.served.unwrap().replica.as_str()), (TEXT, TEXT));
    assert_eq!(backend.store.answers(&[all]).await.unwrap()[0].served.replica, TEXT);
    assert_eq!(backend.store.turns(None, 1).await.unwrap()[0].name, TEXT);
    let contents = backend.contents().await;
    assert_eq!(contents.messages[&(sent.client, 1)].message, TEXT);
    let text = kit_database::mysql::bytes(TEXT.as_bytes());
    for (table, column) in
        [("replicas", "name"), ("turns", "name"), ("received_messages", "message"), ("served_ranges", "replica")]
    {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE HEX({column}) = HEX({text})");
        assert_eq!(backend.number(&sql).await, 1, "{table}.{column}");
    }
}

async fn every_character_is_stored_as_it_is(backend: Backend) {
    let characters =
        ('\0'..='\u{2ff}').chain('\u{2000}'..='\u{206f}').chain('\u{fff0}'..='\u{1000f}').chain(['😀', '\u{10ffff}']);
    let characters: Vec<char> = characters.collect();
    for (chunk, characters) in characters.chunks(500).enumerate() {
        let name = format!("client {chunk}");
        let sent: Vec<Request> = (1..)
            .zip(characters)
            .map(|(counter, text)| Request { client: client(&name), counter, message: text.to_string(), epoch: None })
            .collect();
        backend.store.accept(&sent).await.unwrap();
        let page = round_robin_store::Page { client: client(&name), after: None, limit: 1000 };
        let stored = backend.store.messages(&page).await.unwrap();
        assert_eq!(stored.len(), characters.len());
        for (row, character) in stored.iter().zip(characters) {
            assert_eq!(row.message, character.to_string());
        }
        assert_eq!(backend.store.accept(&sent).await.unwrap().len(), sent.len());
    }
}

async fn the_longest_text_is_stored(backend: Backend) {
    let longest = "\\\"\u{1}".repeat(MAX_MESSAGE_BYTES / 3);
    for (counter, message) in (1..).zip([longest, "é".repeat(MAX_MESSAGE_BYTES / 2), "x".repeat(MAX_MESSAGE_BYTES)]) {
        let sent = Request { message, ..request("x", counter) };
        backend.store.accept(std::slice::from_ref(&sent)).await.unwrap();
        assert_eq!(backend.store.message(&sent.client, counter).await.unwrap().unwrap().message, sent.message);
    }
}
