use super::*;

#[test]
fn times_to_live() {
    let number = |shape, expiry| expiry_number(shape, expiry, 10_000);
    assert_eq!(number(Shape::TtlSeconds, Expiry::NoKey), -2);
    assert_eq!(number(Shape::TtlMillis, Expiry::Never), -1);
    assert_eq!(number(Shape::TtlSeconds, Expiry::At(11_499)), 1);
    assert_eq!(number(Shape::TtlSeconds, Expiry::At(11_500)), 2);
    assert_eq!(number(Shape::TtlMillis, Expiry::At(11_499)), 1499);
    assert_eq!(number(Shape::TtlMillis, Expiry::At(9_000)), 0);
    assert_eq!(number(Shape::ExpirySeconds, Expiry::At(11_499)), 11);
    assert_eq!(number(Shape::ExpiryMillis, Expiry::At(u64::MAX)), i64::MAX);
    assert_eq!(
        number(Shape::TtlSeconds, Expiry::At(u64::MAX)),
        i64::try_from((u64::MAX - 9_500) / 1000).unwrap()
    );
}
