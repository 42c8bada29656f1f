//! What went wrong, from what a server or a connection says of it: the kind, whether it may pass, and what the user can do.

use super::answer::{Element, shown};
use super::request::Answer;
use icecore::error::{Error, Kind};
use reqwest::StatusCode;

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    /// The word for it, as S3 has it; empty when the server gave none.
    pub(super) code: String,
    message: String,
    /// The region the bucket is in, when the server knows better.
    pub(super) region: Option<String>,
}

impl Fault {
    /// Takes what an answer says.
    pub(super) fn new(answer: &Answer) -> Fault {
        let document = Element::read(&answer.body).ok();
        let document = document.filter(|root| root.name() == "Error");
        let text = |name| document.as_ref().and_then(|root| root.text(name)).map(shown).unwrap_or_default();
        let region = answer.header("x-amz-bucket-region").map(str::to_owned);
        let region = region.or_else(|| Some(text("Region")).filter(|region| !region.is_empty()));
        Fault { status: answer.status, code: text("Code"), message: text("Message"), region }
    }

    /// Whether the server cannot do what it was asked for, ever.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == StatusCode::NOT_IMPLEMENTED || self.code == "NotImplemented"
    }

    /// Whether the server refuses a request because of one of these headers.
    pub(super) fn is_about(&self, headers: [&str; 2]) -> bool {
        self.is_refusal() && headers.iter().any(|header| self.message.contains(header))
    }

    /// Whether the server has surely not done what it was asked for.
    pub(super) fn is_refusal(&self) -> bool {
        let is_late = self.status == StatusCode::REQUEST_TIMEOUT;
        self.status.is_client_error() && !is_late || self.is_not_implemented()
    }

    /// Whether the time of the signature is too far from the server's.
    pub(super) fn is_skewed(&self) -> bool {
        self.code == "RequestTimeTooSkewed"
    }

    /// Whether a condition of the request did not hold.
    pub(super) fn is_precondition(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED || self.code == "PreconditionFailed"
    }

    /// Whether somebody else did something with the same key at the same moment.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT && !self.is_bucket_there()
    }

    /// Whether a bucket that is to be made is there already, and the user's own.
    pub(super) fn is_bucket_there(&self) -> bool {
        self.code == "BucketAlreadyOwnedByYou"
    }

    /// Whether there is no such bucket.
    pub(super) fn is_no_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Whether it speaks of an upload that is not there (any more).
    pub(super) fn is_no_upload(&self) -> bool {
        self.code == "NoSuchUpload" || (self.status == StatusCode::NOT_FOUND && self.code.is_empty())
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.is_no_bucket()
    }

    /// Whether the range lies behind the end of the object.
    pub(super) fn is_behind_the_end(&self) -> bool {
        self.status == StatusCode::RANGE_NOT_SATISFIABLE
    }

    /// As an error.
    pub(super) fn error(&self) -> Error {
        let kind = self.kind();
        let error = Error::new(kind, self.words());
        let error = if self.may_pass(kind) { error.retry_later() } else { error };
        match self.advice() {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }

    fn kind(&self) -> Kind {
        match self.code.as_str() {
            "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "ServiceQuotaExceeded" => {
                return Kind::NoSpace;
            }
            // Not an object that is missing, but all of them, or what was sent of one.
            "NoSuchBucket" | "NoSuchUpload" => return Kind::Io,
            "NoSuchKey" => return Kind::NotFound,
            "PreconditionFailed" => return Kind::AlreadyExists,
            "AccessDenied" | "ExpiredToken" => return Kind::Denied,
            "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "IncompleteBody"
            | "RequestTimeout"
            | "SlowDown"
            | "InternalError"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "ServiceUnavailable" => return Kind::Io,
            "BucketAlreadyExists" => return Kind::Denied,
            _ => (),
        }
        match self.status.as_u16() {
            404 => Kind::NotFound,
            401 | 403 => Kind::Denied,
            409 | 408 | 425 | 429 => Kind::Io,
            412 => Kind::AlreadyExists,
            501 | 505 => Kind::Unsupported,
            507 => Kind::NoSpace,
            300..=399 => Kind::Invalid,
            400..=499 => Kind::Invalid,
            _ => Kind::Io,
        }
    }

    fn may_pass(&self, kind: Kind) -> bool {
        kind == Kind::Io && !self.is_no_bucket() && self.code != "NoSuchUpload"
    }

    fn words(&self) -> String {
        let mut words = match self.status.is_success() {
            true => "the server failed".to_owned(),
            false => format!("the server answered {}", self.status.as_u16()),
        };
        for (before, part) in [(" ", &self.code), (": ", &self.message)] {
            if !part.is_empty() {
                words.push_str(before);
                words.push_str(part);
            }
        }
        words
    }

    fn advice(&self) -> Option<String> {
        let advice = match self.code.as_str() {
            "SignatureDoesNotMatch" => "the secret key is wrong, or the region is not the server's",
            "InvalidAccessKeyId" => "the server does not know this key id",
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                "AWS_SESSION_TOKEN is no longer valid, or not of these keys"
            }
            "RequestTimeTooSkewed" => "the clock of this machine is wrong",
            "InvalidObjectState" => "the object is archived: it has to be restored from there first",
            "InvalidPart" => {
                "some servers (Cloudflare R2) want all parts of an object to be of one size: add part-size=64 to the address"
            }
            "BucketAlreadyExists" => "a bucket of this name belongs to somebody else",
            _ => "",
        };
        match (&self.region, advice) {
            (Some(region), _)
                if self.status.is_redirection() || self.code == "AuthorizationHeaderMalformed" =>
            {
                Some(format!("the bucket is in another region: add region={region} to the address"))
            }
            (_, "") if self.status.is_redirection() => {
                Some("the bucket is elsewhere: check region and endpoint".to_owned())
            }
            (_, "") => None,
            (_, advice) => Some(advice.to_owned()),
        }
    }
}

/// What went wrong with a connection, with what helps here where the server is not trusted.
pub(super) fn trusted(error: Error) -> Error {
    match error.kind() {
        Kind::Denied => {
            error.hint("AWS_CA_BUNDLE names a file of certificates to trust instead of the system's")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::error::Retry;
    use reqwest::header::HeaderMap;

    fn fault(status: u16, body: &str) -> Fault {
        Fault::new(&Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        })
    }

    fn coded(status: u16, code: &str) -> Error {
        fault(status, &format!("<Error><Code>{code}</Code><Message>words</Message></Error>")).error()
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let cases = [
            (404, "NoSuchKey", Kind::NotFound, Retry::Never),
            (404, "NoSuchBucket", Kind::Io, Retry::Never),
            (403, "AccessDenied", Kind::Denied, Retry::Never),
            (401, "", Kind::Denied, Retry::Never),
            (403, "QuotaExceeded", Kind::NoSpace, Retry::Never),
            (507, "", Kind::NoSpace, Retry::Never),
            (501, "NotImplemented", Kind::Unsupported, Retry::Never),
            (412, "PreconditionFailed", Kind::AlreadyExists, Retry::Never),
            (409, "ConditionalRequestConflict", Kind::Io, Retry::Later),
            (503, "SlowDown", Kind::Io, Retry::Later),
            (500, "InternalError", Kind::Io, Retry::Later),
            (429, "", Kind::Io, Retry::Later),
            (400, "RequestTimeout", Kind::Io, Retry::Later),
            (400, "XAmzContentSHA256Mismatch", Kind::Io, Retry::Later),
            (400, "KeyTooLongError", Kind::Invalid, Retry::Never),
            (301, "PermanentRedirect", Kind::Invalid, Retry::Never),
            (200, "InternalError", Kind::Io, Retry::Later),
        ];
        for (status, code, kind, retry) in cases {
            let error = coded(status, code);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status} {code}");
        }
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_done() {
        for (status, code, refused) in [
            (400, "InvalidPart", true),
            (403, "AccessDenied", true),
            (412, "PreconditionFailed", true),
            (501, "NotImplemented", true),
            (408, "", false),
            (500, "InternalError", false),
            (503, "SlowDown", false),
            (504, "", false),
            (200, "InternalError", false),
        ] {
            let fault = fault(status, &format!("<Error><Code>{code}</Code></Error>"));
            assert_eq!(fault.is_refusal(), refused, "{status} {code}");
        }
    }

    #[test]
    fn a_server_cannot_write_to_the_terminal() {
        let error = fault(500, "<Error><Code>&#27;[2J</Code><Message>a&#13;b</Message></Error>").error();
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
        assert_eq!(fault(502, "<html>bad gateway").error().to_string(), "the server answered 502");
    }

    #[test]
    fn the_region_is_told_when_it_is_known() {
        let malformed =
            fault(400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>");
        assert_eq!(malformed.region.as_deref(), Some("eu-west-1"));
        assert!(malformed.error().advice().unwrap().contains("region=eu-west-1"));
    }
}
