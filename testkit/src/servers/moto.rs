//! An S3 server in memory, written in Python: multipart uploads, conditions, versions and locks are real, data is gone when
//! it ends. Plain, it takes any signature; a strict one checks them, and knows one user.

use super::{NotInstalled, Server, answers, free_port, python};
use std::path::Path;
use std::process::Command;

/// The server by itself looks whether there is an object and then makes one, in many threads: of two that create it, both win.
/// What a client sends is waited for by its own thread, so that one that stalls stops nobody else.
const SERVE: &str = "\
import io, sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_ssl_devcert, run_simple
application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_at_a_time(environment, start):
    length = int(environment.get('CONTENT_LENGTH') or 0)
    body = environment['wsgi.input'].read(length)
    if len(body) < length:
        raise ConnectionError('the client left')
    environment['wsgi.input'] = io.BytesIO(body)
    with lock:
        return list(application(environment, start))
tls = make_ssl_devcert(sys.argv[2], host='localhost') if len(sys.argv) > 2 else None
run_simple('127.0.0.1', int(sys.argv[1]), one_at_a_time, threaded=True, ssl_context=tls)
";

/// How many requests a strict server takes before it checks who asks: those that make the user.
const SET_UP: &str = "3";

const MAKE_USER: &str = "\
import boto3, sys
iam = boto3.client('iam', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='first', aws_secret_access_key='first')
iam.create_user(UserName='tester')
allow = '{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"s3:*\", \"Resource\": \"*\"}, \
{\"Effect\": \"Deny\", \"Action\": \"s3:DeleteObject\", \"Resource\": \"arn:aws:s3:::kept/*\"}]}'
iam.put_user_policy(UserName='tester', PolicyName='everything', PolicyDocument=allow)
key = iam.create_access_key(UserName='tester')['AccessKey']
print(key['AccessKeyId'], key['SecretAccessKey'])
";

/// A running server.
pub struct Moto {
    /// The process.
    pub server: Server,
    /// Where it listens.
    pub port: u16,
    /// Id and secret of a key that it takes.
    pub key: (String, String),
}

impl Moto {
    /// Starts one that takes any key.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start(folder: &Path) -> Result<Moto, NotInstalled> {
        Moto::at(folder, free_port())
    }

    /// As [`Moto::start`], at a port that another one has left.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn at(folder: &Path, port: u16) -> Result<Moto, NotInstalled> {
        let server = run(folder, port, &[], &[])?;
        Ok(Moto { server, port, key: ("any".to_owned(), "any".to_owned()) })
    }

    /// As [`Moto::start`], by TLS as `localhost`, with a certificate of its own that stands in `folder/own.crt`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn tls(folder: &Path) -> Result<Moto, NotInstalled> {
        let port = free_port();
        let server = run(folder, port, &["own"], &[])?;
        Ok(Moto { server, port, key: ("any".to_owned(), "any".to_owned()) })
    }

    /// Starts one that checks signatures. Its user may do everything, but for deleting objects of the bucket `kept`.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When the user cannot be made.
    pub fn strict(folder: &Path) -> Result<Moto, NotInstalled> {
        let port = free_port();
        let server = run(folder, port, &[], &[("INITIAL_NO_AUTH_ACTION_COUNT", SET_UP)])?;
        let mut make = Command::new(python("moto")?.join("python"));
        make.args(["-c", MAKE_USER, &format!("http://127.0.0.1:{port}")]);
        let made = make.output().expect("python runs");
        assert!(made.status.success(), "no user: {}", String::from_utf8_lossy(&made.stderr));
        let printed = String::from_utf8(made.stdout).expect("keys are text");
        let (id, secret) = printed.trim().split_once(' ').expect("an id and a secret");
        Ok(Moto { server, port, key: (id.to_owned(), secret.to_owned()) })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn run(folder: &Path, port: u16, more: &[&str], variables: &[(&str, &str)]) -> Result<Server, NotInstalled> {
    let mut command = Command::new(python("moto")?.join("python"));
    command.args(["-c", SERVE, &port.to_string()]).args(more).current_dir(folder);
    command.envs(variables.iter().copied());
    Ok(Server::start("moto", command, folder, &|| answers(port)))
}
