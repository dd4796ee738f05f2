use proptest::prelude::*;

use super::*;

#[test]
fn a_cut_token_says_so_and_a_foreign_text_says_so() {
    let text = JoinToken::new(7, 9, [5; 16]).to_string();
    assert!(matches!(
        text[..text.len() - 4].parse::<JoinToken>(),
        Err(TokenError::Length { bytes: 37 })
    ));
    assert_eq!("hello".parse::<JoinToken>(), Err(TokenError::Prefix));
    assert_eq!(
        text.replace("qt2.", "qt1.").parse::<JoinToken>(),
        Err(TokenError::Prefix)
    );
    assert_eq!("qt2.!!!!".parse::<JoinToken>(), Err(TokenError::Alphabet));
    assert!(matches!(
        format!("{text}AAAA").parse::<JoinToken>(),
        Err(TokenError::Length { bytes: 43 })
    ));
}

#[test]
fn debug_hides_the_secret() {
    let token = JoinToken::new(7, 9, [0xAB; 16]);
    let shown = format!("{token:?} {:?}", token.secret);
    assert!(
        !shown.contains("171") && !shown.to_lowercase().contains("abab"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn text_form_round_trips(cluster: u128, id: u64, secret: [u8; 16]) {
        let token = JoinToken::new(cluster, id, secret);
        let text = token.to_string();
        prop_assert_eq!(text.len(), 4 + 54);
        prop_assert_eq!(text.parse::<JoinToken>(), Ok(token));
    }

    #[test]
    fn garbage_never_panics(text in ".{0,200}") {
        let _whatever = text.parse::<JoinToken>();
        let _whatever = format!("qt2.{text}").parse::<JoinToken>();
    }
}
