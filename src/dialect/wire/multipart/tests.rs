//! The form that every server reads alike is read, and what servers read differently is a fault.

use super::*;
use crate::dialect::wire::body::flat_fields;
use serde_json::json;

const NAMED: &str = "Content-Disposition: form-data; name=";

/// A body of parts, each with its headers and its value.
fn body_of(parts: &[(&str, &str)]) -> String {
    let part = |(headers, value): &(&str, &str)| format!("--b\r\n{headers}\r\n\r\n{value}\r\n");
    let parts: Vec<String> = parts.iter().map(part).collect();
    let parts = parts.concat();
    format!("{parts}--b--\r\n")
}

fn read_text(body: &str) -> Result<Value, MultipartFault> {
    read(&Bytes::copy_from_slice(body.as_bytes()), "b").map(|(tree, _)| tree)
}

#[test]
fn what_is_written_is_read() {
    let tree =
        json!({"mobile_phone": "998901234567", "message": "Kod: 1\r\n--x ў😀", "q\"\r\n": "1"});
    let (body, boundary) = write(flat_fields(&tree));
    assert_eq!(read(&body.into(), &boundary), Ok((tree, true)));
}

/// What clients write, from their sources: the versions that were run are below.
#[test]
fn every_real_client_is_read() {
    for (client, headers, name) in [
        (
            "curl, Node's form-data, undici, axios, requests",
            "Content-Disposition: form-data; name=\"to\"",
            "to",
        ),
        (
            "Guzzle, OkHttp 3",
            "Content-Disposition: form-data; name=\"to\"\r\nContent-Length: 3",
            "to",
        ),
        (
            "Apache HttpClient",
            "Content-Disposition: form-data; name=\"to\"\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit",
            "to",
        ),
        (
            "Retrofit",
            "Content-Disposition: form-data; name=\"to\"\r\nContent-Transfer-Encoding: binary\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 3",
            "to",
        ),
        (
            ".NET",
            "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=to",
            "to",
        ),
        (
            "a browser",
            "content-disposition: form-data; name=\"a%22b\"",
            "a\"b",
        ),
        (
            "PHP's arrays",
            "Content-Disposition: form-data; name=\"params[name]\"",
            "params[name]",
        ),
        (
            "in Cyrillic",
            "Content-Disposition: form-data; name=\"имя\"",
            "имя",
        ),
    ] {
        let read = read_text(&body_of(&[(headers, "998")]));
        assert_eq!(read, Ok(json!({ name: "998" })), "{client}");
    }
    for body in [
        "a preamble\r\n--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n1\r\n--b--",
        "\r\n--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n1\r\n--b--\r\n\r\n",
    ] {
        assert_eq!(read_text(body), Ok(json!({"to": "1"})), "{body:?}");
    }
}

/// What these clients wrote when they were run: their content type, what they write around a part, and
/// how the body ends. Text with a line break, because some of them write it anew.
#[test]
fn the_bytes_of_real_clients_are_read() {
    const TEXT: &str = "\r\nContent-Type: text/plain; charset=utf-8\r\n";
    for (client, content_type, first, end, text) in [
        (
            "axios 1.21, superagent 10, form-data 4.0 and 2.3",
            "multipart/form-data; boundary=--------------------------cfc6d311189d78736330bf5a",
            "\r\n",
            "\r\n",
            "Код 1\n&",
        ),
        (
            "node-fetch 2 and 3 with form-data",
            "multipart/form-data;boundary=--------------------------9d6632067469c134849bb37f",
            "\r\n",
            "\r\n",
            "Код 1\n&",
        ),
        (
            "axios 1.21 with Node's FormData",
            "multipart/form-data; boundary=axios-1.21.1-boundary-xXzoOsud0Y5oQSMGeWXagsxUa",
            "\r\n",
            "\r\n",
            "Код 1\r\n&",
        ),
        (
            "Node 20's fetch, undici 6 and 7",
            "multipart/form-data; boundary=----formdata-undici-045219683346",
            "\r\n",
            "\r\n",
            "Код 1\r\n&",
        ),
        (
            "got 14 with form-data-encoder 4",
            "multipart/form-data; boundary=form-data-encoder-i8n1mr6ee7xy6mp2",
            "\r\n",
            "\r\n\r\n",
            "Код 1\r\n&",
        ),
        (
            "formdata-polyfill 4",
            "multipart/form-data; boundary=----6849546531505428668290650949",
            "\r\n",
            "",
            "Код 1\r\n&",
        ),
        (
            "needle 3",
            "multipart/form-data; boundary=--------------------NODENEEDLEHTTPCLIENT",
            "\r\n",
            "",
            "Код 1\n&",
        ),
        (
            "requests 2.34, httpx 0.28, curl 7.88",
            "multipart/form-data; boundary=da543cbb0f846c0152b62d4454502159",
            "\r\n",
            "\r\n",
            "Код 1\n&",
        ),
        (
            "aiohttp 3.14",
            "multipart/form-data; boundary=7eb34af8d7f94881844ecee747228eee",
            TEXT,
            "\r\n",
            "Код 1\n&",
        ),
    ] {
        let boundary = boundary(content_type).unwrap();
        let part = |name: &str, value: &str| {
            format!(
                "--{boundary}{first}Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let to = part("mobile_phone", "998901234567");
        let body = format!("{to}{}--{boundary}--{end}", part("message", text));
        let expected = json!({"mobile_phone": "998901234567", "message": text});
        assert_eq!(
            read(&body.into(), &boundary),
            Ok((expected, true)),
            "{client}"
        );
    }
}

/// One server reads a field in each of these where another one reads none, or one of another name or value.
#[test]
fn what_servers_read_differently_is_not_read() {
    use MultipartFault::{ContentType, Disposition, File, Header, TransferEncoding};
    for (header, fault) in [
        (
            "Content-Disposition: form-data; name=\"cost\"; filename=\"a.txt\"",
            File(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"; filename=\"\"",
            File(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"; filename*=utf-8''a",
            File(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"; FileName=a",
            File(2),
        ),
        (
            "Content-Disposition: form-data; filename=\"a\"; name=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"; name=\"x\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"x\"; name=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; x=\"; name=cost; \"; name=\"y\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"y\"; x=\"; name=cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; x=\"; name=\\\"cost\\\"\"; name=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: attachment; name=\"cost\"",
            Disposition(2),
        ),
        ("Content-Disposition: form-data", Disposition(2)),
        ("Content-Disposition: form-data; name=\"\"", Disposition(2)),
        ("Content-Disposition: form-data; name=", Disposition(2)),
        (
            "Content-Disposition: form-data; name=\"cost",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"x",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\";",
            Disposition(2),
        ),
        ("Content-Disposition: form-data; name=co st", Disposition(2)),
        (
            "Content-Disposition: form-data; name='cost'",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"co\\st\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name =\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; NAME=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name*=utf-8''cost",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data name=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Disposition: form-data; name=\"x\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"x\"\r\ncontent-disposition: form-data; name=\"cost\"",
            Disposition(2),
        ),
        ("X-Content-Disposition: form-data; name=\"cost\"", Header(2)),
        ("Content-Disposition : form-data; name=\"cost\"", Header(2)),
        (
            "Content-Disposition: form-data;\r\n name=\"cost\"",
            Disposition(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\n folded",
            Header(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\nX: y",
            Header(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\rx\"",
            Header(2),
        ),
        ("Content-Disposition: form-data; name=\"co\0st\"", Header(2)),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Length: 2",
            Header(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Encoding: gzip",
            Header(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Transfer-Encoding: base64",
            TransferEncoding(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Transfer-Encoding: quoted-printable",
            TransferEncoding(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Type: text/plain; charset=utf-16",
            ContentType(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Type: text/plain; charset=windows-1251",
            ContentType(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Type: application/octet-stream",
            ContentType(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Type: application/json",
            ContentType(2),
        ),
        (
            "Content-Disposition: form-data; name=\"cost\"\r\nContent-Type: multipart/mixed; boundary=c",
            ContentType(2),
        ),
        ("Content-Type: text/plain", Disposition(2)),
    ] {
        let body = body_of(&[(&format!("{NAMED}\"login\""), "x"), (header, "1")]);
        assert_eq!(read_text(&body), Err(fault), "{header:?}");
    }
    let charset = body_of(&[(&format!("{NAMED}\"_charset_\""), "utf-16")]);
    assert_eq!(read_text(&charset), Err(ContentType(1)));
}

#[test]
fn a_boundary_counts_only_where_every_server_sees_it() {
    use MultipartFault::{Epilogue, Incomplete, MisplacedBoundary};
    let part = "\r\nContent-Disposition: form-data; name=\"cost\"\r\n\r\n1";
    let whole = format!("--b{part}\r\n--b--\r\n");
    assert_eq!(read_text(&whole), Ok(json!({"cost": "1"})));
    for (body, fault) in [
        (String::new(), Incomplete),
        ("--b".to_owned(), MisplacedBoundary),
        ("--b\r\n".to_owned(), Incomplete),
        (format!("--b{part}"), Incomplete),
        (format!("--b{part}\r\n--b"), MisplacedBoundary),
        (format!("junk--b{part}\r\n--b--"), MisplacedBoundary),
        (format!("junk\n--b{part}\r\n--b--"), MisplacedBoundary),
        (format!("--b {part}\r\n--b--"), MisplacedBoundary),
        (format!("--b{part}\n--b{part}\r\n--b--"), MisplacedBoundary),
        (format!("--b{part}--b{part}\r\n--b--"), MisplacedBoundary),
        (
            format!("--b{part}\r\n--bx{part}\r\n--b--"),
            MisplacedBoundary,
        ),
        (format!("--b{part}\r\n--b-\r\n"), MisplacedBoundary),
        (whole.replace("\r\n", "\n"), MisplacedBoundary),
        (format!("{whole}junk"), Epilogue),
        (format!("{whole}{whole}"), Epilogue),
        (format!("{whole}\n"), Epilogue),
        (format!("--b{part}\r\n--b--x"), Epilogue),
        (
            "--b\r\nx\r\n\r\n1\r\n--b--".to_owned(),
            MultipartFault::Header(1),
        ),
        (
            "--b\r\n\r\n1\r\n--b--".to_owned(),
            MultipartFault::Disposition(1),
        ),
        (
            "--b\r\n1\r\n--b--".to_owned(),
            MultipartFault::Disposition(1),
        ),
    ] {
        assert_eq!(read_text(&body), Err(fault), "{body:?}");
    }
}

#[test]
fn a_boundary_is_named_once() {
    for (content_type, named) in [
        (
            "multipart/form-data; boundary=----formdata-undici-012345678901",
            "----formdata-undici-012345678901",
        ),
        (
            "multipart/form-data; boundary=--------------------------012345678901234567890123",
            "--------------------------012345678901234567890123",
        ),
        (
            "multipart/form-data; boundary=axios-1.7.7-boundary-aB_c",
            "axios-1.7.7-boundary-aB_c",
        ),
        ("multipart/form-data;boundary=\"a b\"", "a b"),
        (
            "multipart/form-data; charset=utf-8; boundary=\"===1,2==\"",
            "===1,2==",
        ),
    ] {
        assert_eq!(
            boundary(content_type).as_deref(),
            Ok(named),
            "{content_type}"
        );
    }
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; xboundary=c; boundary=b",
        "multipart/form-data; boundary=b,c",
        "multipart/form-data; boundary=b c",
        "multipart/form-data; boundary=\"b ",
        "multipart/form-data; boundary=\"b \"",
        "multipart/form-data; boundary=\"b;c\"",
        "multipart/form-data; charset=utf-16; boundary=b",
        "multipart/form-data; boundary=b;",
    ] {
        assert_eq!(
            boundary(content_type),
            Err(MultipartFault::Boundary),
            "{content_type}"
        );
    }
}

/// No fault quotes the body: its values are secrets and texts.
#[test]
fn no_fault_quotes_the_body() {
    let secret = "s3cr3t";
    for headers in [
        format!("Content-Disposition: form-data; name=\"{secret}\"; x=\"{secret}\""),
        format!("{secret}: {secret}"),
        format!("Content-Type: {secret}"),
    ] {
        let fault = read_text(&body_of(&[(&headers, secret)])).unwrap_err();
        assert!(!fault.to_string().contains(secret), "{fault}");
    }
}
