//! Amazon's signature, version 4, of a question to S3 whose body is known whole.
//!
//! Path and query are signed as they are sent: what has to be percent-encoded in them already is.

use crate::sha256;

const BLOCK_BYTES: usize = 64;

/// The region that is signed for.
const REGION: &str = "us-east-1";

/// The headers that sign a question: those that were given, and what a signature adds. The time is in the form `20130524T000000Z`.
pub fn headers(
    (id, secret): (&str, &str),
    time: &str,
    host: &str,
    (method, path): (&str, &str),
    given: &[(&str, &str)],
    body: &[u8],
) -> Vec<(String, String)> {
    let digest = sha256::hex(body);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parameters: Vec<String> = query.split('&').filter(|part| !part.is_empty()).map(valued).collect();
    parameters.sort();
    let mut signed: Vec<(String, String)> =
        [("host", host), ("x-amz-content-sha256", &digest), ("x-amz-date", time)]
            .iter()
            .chain(given)
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
    signed.sort();
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let question = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{digest}", parameters.join("&"));

    let day = time.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256::hex(question.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, REGION, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes()).to_vec();
    }
    let signature: String = hmac(&key, to_sign.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},Signature={signature}");
    signed.retain(|(name, _)| name != "host");
    signed.push(("authorization".to_owned(), authorization));
    signed
}

fn valued(parameter: &str) -> String {
    if parameter.contains('=') { parameter.to_owned() } else { format!("{parameter}=") }
}

/// HMAC (FIPS 198-1) over SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    match key.len() <= BLOCK_BYTES {
        true => block[..key.len()].copy_from_slice(key),
        false => block[..32].copy_from_slice(&sha256::digest(key)),
    }
    let inner = sha256::digest(&[&block.map(|byte| byte ^ 0x36)[..], message].concat());
    sha256::digest(&[&block.map(|byte| byte ^ 0x5c)[..], &inner].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, the second and the sixth case.
    #[test]
    fn hmac_is_that_of_the_standard() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    /// The example of Amazon's documentation.
    #[test]
    fn a_signature_is_that_of_the_example() {
        let key = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let range = [("Range", "bytes=0-9")];
        let host = "examplebucket.s3.amazonaws.com";
        let signed = headers(key, "20130524T000000Z", host, ("GET", "/test.txt"), &range, b"");
        let (_, authorization) = signed.last().unwrap();
        assert!(
            authorization
                .ends_with("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{authorization}"
        );
    }

    #[test]
    fn what_asks_for_no_value_has_an_empty_one() {
        assert_eq!((valued("lifecycle"), valued("a=b")), ("lifecycle=".to_owned(), "a=b".to_owned()));
    }
}
