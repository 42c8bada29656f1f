//! An S3 server in memory, written in Python: multipart uploads, conditions, versions and locks are real, data is gone when
//! it ends. Plain, it takes any signature; a strict one checks them, and knows one user.

use super::{NotInstalled, Server, answers, free_port, python};
use std::path::Path;
use std::process::Command;

/// The server by itself looks whether there is an object and then makes one, in many threads: of two that create it, both win.
/// What a client sends is waited for by its own thread, so that one that stalls stops nobody else. An action without a signature, which
/// Amazon takes from where it stands, is known to it in the body alone.
const SERVE: &str = "\
import io, sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_ssl_devcert, run_simple
application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_at_a_time(environment, start):
    query = environment.get('QUERY_STRING', '')
    if query.startswith('Action=') and 'HTTP_AUTHORIZATION' not in environment:
        environment['wsgi.input'] = io.BytesIO(query.encode())
        environment.update(CONTENT_LENGTH=str(len(query)), CONTENT_TYPE='application/x-www-form-urlencoded', QUERY_STRING='')
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

/// Makes a role that may do everything with S3, and lends its keys.
const LEND: &str = "\
import boto3, sys, urllib.request
url, key, secret, count = sys.argv[1:]
def check_all_but(requests):
    kind = {'Content-Type': 'text/plain'}
    urllib.request.urlopen(urllib.request.Request(url + '/moto-api/reset-auth', requests.encode(), kind, method='POST')).close()
def client(service):
    return boto3.client(service, endpoint_url=url, region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret)
statement = '{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"%s\", %s: \"*\"}]}'
check_all_but('inf')
iam, sts = client('iam'), client('sts')
arn = iam.create_role(RoleName='machine', AssumeRolePolicyDocument=statement % ('sts:AssumeRole', '\"Principal\"'))['Role']['Arn']
iam.put_role_policy(RoleName='machine', PolicyName='s3', PolicyDocument=statement % ('s3:*', '\"Resource\"'))
for number in range(int(count)):
    lent = sts.assume_role(RoleArn=arn, RoleSessionName='session')['Credentials']
    print(lent['AccessKeyId'], lent['SecretAccessKey'], lent['SessionToken'])
check_all_but('0')
";

/// Keys that are lent for a while: the id, the secret, and the token without which they are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// The id.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The token.
    pub token: String,
}

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
        let printed = ask(&[MAKE_USER, &format!("http://127.0.0.1:{port}")])?;
        let (id, secret) = printed.trim().split_once(' ').expect("an id and a secret");
        Ok(Moto { server, port, key: (id.to_owned(), secret.to_owned()) })
    }

    /// Keys of a role, another set each time, which a strict server checks like those of its user.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it lends none.
    pub fn lend(&self, count: usize) -> Result<Vec<Lent>, NotInstalled> {
        let (id, secret) = &self.key;
        let printed = ask(&[LEND, &self.endpoint(), id, secret, &count.to_string()])?;
        let lent = printed.lines().map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [id, secret, token] => {
                Lent { id: id.to_owned(), secret: secret.to_owned(), token: token.to_owned() }
            }
            _ => panic!("no keys: {line:?}"),
        });
        Ok(lent.collect())
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// What a program for Amazon's own client prints.
fn ask(program: &[&str]) -> Result<String, NotInstalled> {
    let mut python = Command::new(python("moto")?.join("python"));
    let done = python.arg("-c").args(program).output().expect("python runs");
    assert!(done.status.success(), "not done: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout).expect("it is text"))
}

fn run(folder: &Path, port: u16, more: &[&str], variables: &[(&str, &str)]) -> Result<Server, NotInstalled> {
    let mut command = Command::new(python("moto")?.join("python"));
    command.args(["-c", SERVE, &port.to_string()]).args(more).current_dir(folder);
    command.envs(variables.iter().copied());
    Ok(Server::start("moto", command, folder, &|| answers(port)))
}
