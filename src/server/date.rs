//! The `date` of a response (RFC 9110 §6.6.1), written once a second and thread.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

thread_local! {
    static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
}

pub(super) fn now() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|(written, text)| {
        if *written != second {
            let date = httpdate::fmt_http_date(now);
            (*written, *text) = (second, HeaderValue::from_str(&date).unwrap_or(HeaderValue::from_static("")));
        }
        text.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_now() {
        let told = httpdate::parse_http_date(now().to_str().unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(told).unwrap().as_secs() < 60, "{told:?}");
        assert_eq!(now().len(), "Sun, 29 Nov 2026 20:00:00 GMT".len());
    }
}
