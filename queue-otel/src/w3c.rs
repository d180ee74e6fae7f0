//! A span's context as text: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The names of the headers.
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";

/// The text of `traceparent`.
pub(crate) fn traceparent(span: &SpanContext) -> String {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), flags.to_u8())
}

/// The context that the headers tell, if they tell one. A version that is newer may say more, of which the first four
/// parts are read.
pub(crate) fn context(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let mut hex = |len: usize| parts.next().filter(|part| part.len() == len && part.bytes().all(is_hex));
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let state = tracestate.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_told_is_read_again() {
        let read = context(TEXT, Some("a=1,b=2")).unwrap();
        assert_eq!(traceparent(&read), TEXT);
        assert!(read.is_remote() && read.is_sampled());
        assert_eq!(read.trace_state().header(), "a=1,b=2");
        assert!(!context(&TEXT.replace("-01", "-00"), None).unwrap().is_sampled());
        assert_eq!(context(TEXT, Some("no state")).unwrap().trace_state().header(), "", "the parent counts without it");
    }

    #[test]
    fn a_newer_version_may_say_more() {
        assert!(context(&format!("01{}-more", &TEXT[2..]), None).is_some());
        assert!(context(&format!("{TEXT}-more"), None).is_none());
    }

    #[test]
    fn what_is_none_is_nothing() {
        let zeros = "0".repeat(32);
        for text in [
            "",
            "00",
            &format!("ff{}", &TEXT[2..]),
            &TEXT.to_uppercase(),
            &TEXT[..TEXT.len() - 1],
            &TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            &TEXT.replace("00f067aa0ba902b7", &zeros[..16]),
            "00-xyz",
        ] {
            assert_eq!(context(text, None), None, "{text}");
        }
    }
}
