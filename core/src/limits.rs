//! Every bound in one place, with the relations between them checked when the library is compiled.
//!
//! Whatever the size of a tree, a file or a repository, the memory a run needs follows from these numbers. A bound that is
//! passed is an [`crate::error::Kind::Limit`] error, never a truncation.

/// Bytes of stream in one block: what one compressor takes, what travels through a pipe. Large enough that a hop between
/// threads (0.2 µs) and the start of a compressed frame do not matter, small enough for memory to stay a small number.
pub const BLOCK_BYTES: usize = 4 << 20;

/// Blocks of a stream that are fetched from far away before they are asked for.
pub const BLOCKS_AHEAD: usize = 4;

/// Items a pipe holds between its two ends.
pub const PIPE_ITEMS: usize = 3;

/// Content of the largest zstd frame that is decoded in one piece by a worker. Those Icecore writes have [`BLOCK_BYTES`];
/// larger ones are decoded as a stream, on one thread.
pub const PARALLEL_FRAME_BYTES: usize = 2 * BLOCK_BYTES;

/// Base-two logarithm of the largest window a zstd stream may ask a decoder for: what `zstd -d` accepts without being told.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// Memory an xz stream may ask a decoder for. `xz -9` asks for 65 MiB.
pub const XZ_MEMORY_BYTES: u64 = 128 << 20;

/// Largest dictionary of an xz encoder; its memory is some 11 times that, in every worker.
pub const XZ_DICTIONARY_BYTES: u32 = 2 << 20;

/// Most worker threads of one pipe stage.
pub const WORKERS_MAX: usize = 64;

/// Bytes of one read from a file that is streamed.
pub const READ_BYTES: usize = 1 << 20;

/// Files up to this size are read whole before their header is written, so that a change during the read is noticed in time.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Bytes a spool keeps in memory before it moves to an unlinked temporary file.
pub const SPOOL_MEMORY_BYTES: usize = 8 << 20;

/// Longest object name, in bytes.
pub const OBJECT_NAME_BYTES: usize = 1024;

/// Largest object that is read whole into memory (`metadata` documents and the like; never `data`).
pub const SMALL_OBJECT_BYTES: u64 = 16 << 20;

/// Longest host or backup name, in bytes: one component of an object name on every storage.
pub const NAME_BYTES: usize = 200;

/// Longest path inside a tree or an archive, in bytes. Far beyond PATH_MAX, since paths are walked by directory handles.
pub const PATH_BYTES: usize = 1 << 20;

/// Deepest nesting of directories.
pub const DEPTH_MAX: usize = 32_768;

/// Bytes of all names of one directory. With the code and the NUL that each name takes in a dumpdir it still fits there:
/// more than 65 792 names are longer than two bytes on average.
pub const LISTING_BYTES: usize = 512 << 20;

/// Bytes the kernel is asked for at a time when a directory is listed: some two thousand names.
pub const LISTING_READ_BYTES: usize = 64 << 10;

/// Names of owners remembered at once, of users and of groups each.
pub const OWNERS_REMEMBERED: usize = 16_384;

/// Directory handles kept open at once; older ones are closed and found again through `..`.
pub const OPEN_DIRECTORIES: usize = 128;

/// Bytes of all extended attributes of one file.
pub const XATTR_BYTES: usize = 4 << 20;

/// Most entries of one access control list: what an attribute of 64 KiB can hold.
pub const ACL_ENTRIES: usize = 8191;

/// Bytes of directories' attributes that are gathered in memory until they move to a temporary file.
pub const DEFERRED_BYTES: usize = 4 << 20;

/// Bytes of the PAX records of one member. Holds every attribute, a path and a link target.
pub const PAX_BYTES: usize = 8 << 20;

/// Bytes of the listing (dumpdir) of one directory in an archive: ten million names of a hundred bytes.
pub const DUMPDIR_BYTES: u64 = 1 << 30;

/// Data regions of one sparse file. A file with more is stored as if it had no holes.
pub const SPARSE_REGIONS: usize = 1 << 20;

/// Highest level a chain may reach.
pub const LEVEL_MAX: u32 = 9_999;

/// Paths that are named in a stored report; beyond it only the count grows.
pub const REPORTED_PATHS: usize = 1_000;

/// Seconds by which the newest name of a series may be ahead of the clock before the clock counts as set back: backups made
/// within one second get the seconds after it as names.
pub const CLOCK_SLACK_SECONDS: i64 = 60;

/// Seconds after which the clock of another host no longer matters: data without a commit that is older than this belongs
/// to no running backup.
pub const ORPHAN_GRACE_SECONDS: i64 = 86_400;

/// Names that are tried for a new backup when others begin one at the same time.
pub const CLAIM_ATTEMPTS: u32 = 64;

/// Longest claim that is looked at.
pub const CLAIM_BYTES: u64 = 64 << 10;

/// Bytes of the paths that one list of a `metadata` document names.
pub const DOCUMENT_PATH_BYTES: usize = 1 << 20;

/// Entries of a deduplicated backup that a restore looks at before it decides in which order to read their chunks.
pub const RESTORE_WINDOW_ENTRIES: usize = 8_192;

/// Chunks that such a window names at most; more only come together when large files are in many pieces.
pub const RESTORE_WINDOW_CHUNKS: usize = 8_192;

/// Files in several chunks that such a window holds parts of. Those that are being written are open.
pub const RESTORE_WINDOW_LARGE_FILES: usize = 32;

/// Bytes of paths, attributes and holes that such a window keeps in memory.
pub const RESTORE_WINDOW_BYTES: usize = 8 << 20;

/// Neighbouring chunks are fetched together up to so many bytes. A longer chunk is fetched alone.
pub const RESTORE_FETCH_BYTES: u32 = 4 << 20;

/// Bytes between two chunks that are rather fetched in vain than asked around.
pub const RESTORE_FETCH_GAP_BYTES: u32 = 64 << 10;

/// [`RESTORE_FETCH_BYTES`], [`RESTORE_FETCH_GAP_BYTES`] and [`RESTORE_FETCH_FILES`] for a storage far away: in the time that one
/// answer waits a line carries more than the gap. A pack, which ends with the chunk that fills it, is one request: what is asked costs a
/// server more than what it sends. A worker holds that many bytes.
pub const FAR_FETCH_BYTES: u32 = 18 << 20;
/// See [`FAR_FETCH_BYTES`].
pub const FAR_FETCH_GAP_BYTES: u32 = 256 << 10;
/// See [`FAR_FETCH_BYTES`].
pub const FAR_FETCH_FILES: usize = 4096;

/// Holes of one file that are kept. A file with more is stored as if it had none.
pub const HOLES_KEPT: usize = 65_536;

/// Smallest file that is looked at for holes.
pub const SPARSE_MIN_BYTES: u64 = 64 << 10;

/// Shortest chunk of content, but for the last of a file. A chunk has a cost in the index whatever its length.
pub const CHUNK_MIN_BYTES: usize = 256 << 10;

/// Length from which on a chunk ends at the first chance: four times as often as before. Lengths are 1.2 times that on average.
pub const CHUNK_AVERAGE_BYTES: usize = 1 << 20;

/// Longest chunk of content, which ends whatever it holds.
pub const CHUNK_MAX_BYTES: usize = 4 << 20;

/// Bytes a bundle of small files has before a file may end it, unless there are [`BUNDLE_FILES_MIN`] of them.
pub const BUNDLE_MIN_BYTES: u64 = 1 << 20;

/// Bytes at which a bundle ends whatever it holds. It is passed by at most the last file.
pub const BUNDLE_MAX_BYTES: u64 = 4 << 20;

/// Bytes of content between two files that may end a bundle, on average.
pub const BUNDLE_SPAN_BYTES: u64 = 1 << 20;

/// What a smaller file counts as when it is asked whether it ends a bundle, so that swarms of tiny files end too.
pub const BUNDLE_FILE_MIN_BYTES: u64 = 4 << 10;

/// Files of a bundle from which on any may end it, however small they are.
pub const BUNDLE_FILES_MIN: usize = 1024;

/// Most files in one bundle.
pub const BUNDLE_FILES_MAX: usize = 4096;

/// Bytes of the chunks that are kept while files of a backup are read one after the other.
pub const VIEW_CACHE_BYTES: usize = 64 << 20;

/// How many they are at most.
pub const VIEW_CACHE_CHUNKS: usize = 64;

/// Entries that are remembered to tell what is in a chain whose levels have no list of it.
pub const CHAIN_TREE_ENTRIES: usize = 1 << 20;

/// Versions of files that a search through all backups remembers.
pub const FOUND_VERSIONS: usize = 1 << 20;

/// Bytes of one object that the benchmark of a storage writes: those of a pack.
pub const BENCHMARK_OBJECT_BYTES: usize = 16 << 20;

/// Files that one fetch serves at most, so that all workers have something to do.
pub const RESTORE_FETCH_FILES: usize = 512;

/// Bytes of a chunk of content, or of attributes and holes, at most.
pub const CHUNK_BYTES: usize = 16 << 20;

/// Bytes of a node of a tree, or of a list of chunks, at most.
pub const NODE_BYTES: usize = 2 << 20;

/// Bytes of a pack, at most.
pub const PACK_BYTES: usize = 64 << 20;

/// Chunks in a pack, at most.
pub const PACK_CHUNKS: usize = 65_536;

/// Bytes at which a writer closes a pack.
pub const PACK_CLOSE_BYTES: usize = 16 << 20;

/// Buffers of packs that are kept to be used again: more than are ever in use at a time, for an allocator that sees large blocks
/// come and go keeps them.
pub const PACK_BUFFERS_KEPT: usize = 8;

/// Chunks that one run keeps track of in memory, at most, at 48 bytes and a little each: some 60 TB of content.
pub const CHUNKS_IN_MEMORY: usize = 60_000_000;

/// Packs that one run keeps track of in memory, at most.
pub const PACKS_IN_MEMORY: usize = 8_000_000;

/// Bytes of the document of an index, at most: what fits into the largest object with one document.
pub const INDEX_DOCUMENT_BYTES: usize = (64 << 20) - 4096;

/// Bytes of packs that are stored and that no index knows, until one is written.
pub const INDEX_DUE_BYTES: u64 = 128 << 20;

/// Bytes below which an index counts as small.
pub const INDEX_SMALL_BYTES: u64 = 1 << 20;

/// Small indexes that are left as they are; more are merged.
pub const INDEX_SMALL_COUNT: usize = 32;

/// How often indexes are listed anew when some are gone that a listing had.
pub const INDEX_LISTINGS: u32 = 16;

/// Keys of packs that a reader keeps at hand.
pub const PACK_KEYS_KEPT: usize = 64;

/// Bytes of a metadata pack that a reader fetches at a time when it goes through it.
pub const METADATA_WINDOW_BYTES: usize = 1 << 20;

/// Windows of metadata that a reader keeps.
pub const METADATA_WINDOWS: usize = 8;

/// Largest object of the deduplicated part of a repository that is one sealed document: an index, a snapshot, a removal.
pub const VAULT_OBJECT_BYTES: u64 = 64 << 20;

/// Largest key slot.
pub const KEY_SLOT_BYTES: u64 = 64 << 10;

/// Most key slots of one repository.
pub const KEY_SLOTS: usize = 64;

/// Memory in KiB that a key slot may ask for when its password is made a key.
pub const KDF_MEMORY_KIB: std::ops::RangeInclusive<u32> = 8_192..=1_048_576;

/// Passes over that memory.
pub const KDF_PASSES: std::ops::RangeInclusive<u32> = 1..=64;

/// Lanes of that memory.
pub const KDF_LANES: std::ops::RangeInclusive<u32> = 1..=16;

/// Most tags of one snapshot.
pub const SNAPSHOT_TAGS: usize = 1_000;

/// Snapshots of a repository that a client remembers: of those that were there, and of those that were removed.
pub const SEEN_IDS: usize = 100_000;

/// Packs that wait to be handed to a worker of a check.
pub const CHECKED_PACKS_WAITING: usize = 2;

/// Chunks that a check names as damaged or missing.
pub const FLAWS_MAX: usize = 65_536;

/// Paths that a check names for each of them, in each backup.
pub const FLAW_PATHS: usize = 8;

/// Longest file that is bundled with others; longer ones are cut into chunks.
pub const BUNDLED_FILE_BYTES: u64 = 512 << 10;

/// Directories whose files may share a bundle: each keeps a handle open until the bundle is read.
pub const BUNDLE_DIRECTORIES: usize = 96;

/// Bytes of a large file that are read before they are cut and handed on.
pub const READ_BLOCK_BYTES: usize = 9 << 19;

/// Entries that wait for the bundle they are in.
pub const ROWS_WAITING: usize = 16_384;

/// Directories, or batches of entries, that were looked at and wait: each directory holds a handle.
pub const LOOKED_WAITING: usize = 48;

/// Entries of one such batch.
pub const LOOKED_ENTRIES: usize = 512;

/// Threads that ask the system about entries, beside the one that lists directories.
pub const LOOKERS: usize = 2;

/// Pieces of work between the walk and the workers.
pub const WORK_WAITING: usize = 2;

/// Full packs that wait to be stored.
pub const PACKS_WAITING: usize = 1;

/// Packs that are on the storage and wait for the disk, without memory of their own, at a time.
pub const PACKS_UNDERWAY: usize = 3;

/// Packs that are sent to a storage far away at a time, each from memory of its own.
pub const PACKS_SENT: usize = 4;

/// Largest chunk that holds content, or what is too long for an entry of a tree.
pub const TREE_CHUNK_BYTES: u64 = 16 << 20;

/// Largest node of a tree, and largest list of the chunks of a file.
pub const TREE_NODE_BYTES: usize = 2 << 20;

/// Items a node has before its border is looked for.
pub const TREE_NODE_ITEMS_MIN: usize = 16;

/// Most items of a node that is written.
pub const TREE_NODE_ITEMS_MAX: usize = 1024;

/// Bytes of items, with what they added to the tables, at which a node ends.
pub const TREE_NODE_FULL_BYTES: usize = 512 << 10;

/// Greatest height of a node.
pub const TREE_HEIGHT_MAX: u8 = 32;

/// Longest path of an entry in a tree of the vault, and longest target of a link.
pub const TREE_PATH_BYTES: usize = 256 << 10;

/// Longest name of a user or a group in a tree of the vault.
pub const TREE_OWNER_BYTES: usize = 1024;

/// Attributes that are kept in an entry, in bytes as they are written.
pub const TREE_XATTR_BYTES: usize = 4096;

/// Holes that are kept in an entry, in bytes as they are written.
pub const TREE_HOLES_BYTES: usize = 1024;

/// Most chunks, or lists of them, that an entry names itself.
pub const TREE_ROWS_MAX: usize = 512;

/// Rows a list of chunks has before its border is looked for.
pub const TREE_LIST_ROWS_MIN: usize = 64;

/// Most rows of a list of chunks that is written.
pub const TREE_LIST_ROWS_MAX: usize = 2048;

/// Packs with metadata of a vault far away that are no longer are copied whole when anything is read of them.
pub const CACHED_WHOLE_BYTES: u32 = 2 << 20;

/// What the copies of objects of one vault far away may take, unless somebody says otherwise.
pub const CACHE_BYTES: u64 = 1 << 30;

/// Documents (indexes, snapshots …) that are fetched at a time from a storage far away.
pub const DOCUMENTS_FETCHED: usize = 8;

/// What `check` reads of a pack at once.
pub const CHECK_READ_BYTES: usize = 4 << 20;

/// A file that was changed so many seconds before it was read, or less, counts as racy: file systems tell times in steps of up
/// to two seconds, and the kernel's own clock for them lags behind by some milliseconds.
pub const RACY_SECONDS: i64 = 2;

/// Most levels of lists between an entry and its content.
pub const TREE_ROWS_DEPTH_MAX: u8 = 4;

/// Bytes of a file that are compressed for a zip archive before what comes of them is written.
pub const ZIP_COMPRESSED_AT_ONCE_BYTES: usize = 256 << 10;
/// Work in KiB of memory times passes that one key slot may ask for, and that all different derivations of one opening may come to:
/// about a second, however many slots somebody has put there.
pub const KDF_WORK_KIB: u64 = 1 << 20;
/// Bytes of zeros from which on a restore with `--sparse` makes a hole of them.
pub const SPARSE_RUN_BYTES: usize = 64 << 10;

/// Bytes that such a hole is made of, and where it may begin: the blocks of file systems.
pub const SPARSE_BLOCK_BYTES: usize = 4 << 10;

/// Bytes of a file that stands in a target which are compared with what a restore would write at a time, by one worker.
pub const RESTORE_COMPARE_BYTES: u64 = 16 << 20;

/// Paths that a restore remembers by a hash: what it made, where it must not be taken for what stood there before, or what is
/// not to be verified. More than that is not restored with the options that need it.
pub const RESTORE_PATHS: usize = 1 << 26;

/// Patterns of what to restore, or of what not to.
pub const RESTORE_PATTERNS: usize = 4096;
/// Files that are looked at ahead after one was not in the system's cache.
pub const AHEAD_FILES: usize = 128;

/// Files that are looked at ahead when nothing is known of the cache.
pub const AHEAD_PROBES: usize = 128;

/// Files of one hint.
pub const AHEAD_HINT_FILES: usize = 16;

/// Directories, or parts of them, that are looked at ahead after one was not in the cache.
pub const AHEAD_DIRECTORIES: usize = 256;

/// Directories of which one is asked for whether it is in the cache.
pub const AHEAD_PROBED: usize = 8;

/// Entries of a directory that are looked at together ahead.
pub const AHEAD_BATCH: usize = 64;

/// Entries of a sub-directory that are looked at ahead.
pub const AHEAD_ENTRIES: usize = 4096;

/// Hints that wait to be followed: each may hold the handle of a directory.
pub const AHEAD_HINTS: usize = 256;

/// Paths of restored files that a level's verification did not find as they were written, and may yet find to be replaced by a
/// later member of the same level; those beyond are told at once.
pub const VERIFY_OPEN_PATHS: usize = 65_536;

/// Longest file of profiles of AWS that is read.
pub const PROFILE_FILE_BYTES: u64 = 1 << 20;

/// Most lines of such a file.
pub const PROFILE_LINES: usize = 16_384;

/// Deepest nesting of elements in an answer in XML.
pub const XML_DEPTH: usize = 16;

/// Most elements of such an answer: a page of a list has a thousand objects with some twelve each.
pub const XML_ELEMENTS: usize = 65_536;

/// Longest answer of an S3 server that is no object: a page of a list, whose keys may be three times as long as they are.
pub const S3_ANSWER_BYTES: usize = 16 << 20;
/// The most that is set aside for what an S3 server announces, before it has come: more than is fetched of a pack at once.
pub const S3_RESERVED_BYTES: usize = 2 * FAR_FETCH_BYTES as usize;

/// What is read of an S3 server's words on an error.
pub const S3_ERROR_BYTES: usize = 64 << 10;

/// Largest new object with which a server is asked whether it heeds conditions.
pub const S3_PROBE_BYTES: usize = 64 << 10;

/// Most parts of an object on S3.
pub const S3_PARTS: usize = 10_000;

/// Smallest part but for the last, as S3 has it.
pub const S3_PART_MIN_BYTES: usize = 5 << 20;

/// Largest part; S3 would take five times as much, and it is held in memory.
pub const S3_PART_MAX_BYTES: usize = 1 << 30;

/// What a part has at least, unless the user says otherwise.
pub const S3_PART_BYTES: usize = 8 << 20;

/// A part is no shorter than what was written before it, divided by this: ten thousand come to more than 5 TiB.
pub const S3_PART_GROWTH: u64 = 1000;

/// Parts of one object that are under way at a time.
pub const S3_PARTS_UNDERWAY: usize = 4;

/// Bytes of the parts that are under way at a time, but for a part that is larger by itself.
pub const S3_PARTS_UNDERWAY_BYTES: usize = 4 * S3_PART_BYTES;
/// Spans of the day that a limit of bytes a second may have.
pub const RATE_SPANS: usize = 64;

/// Bytes that a trial of a storage has written of an object when it looks whether it is there already: more than one part of
/// what storages write in parts.
pub const PROBE_WRITER_BYTES: usize = 9 << 20;

/// Objects of the size of a pack that a trial has under way at a time, each in memory of its own.
pub const PROBE_LARGE_AT_ONCE: usize = 4;

/// Names that a trial tells of a kind.
pub const PROBE_NAMED: usize = 8;
/// The longest packet of SFTP that is taken from a server.
pub const SFTP_PACKET_BYTES: usize = 1 << 20;
/// Requests for parts of one file that are under way at a time over SFTP.
pub const SFTP_REQUESTS: usize = 64;
/// What a server may send of one SFTP session before it has to wait for us.
pub const SFTP_WINDOW_BYTES: u32 = 16 << 20;
/// How much of an object that is being written over SFTP may be neither on the server's disk nor kept here.
pub const SFTP_SYNC_BYTES: u64 = 64 << 20;
/// The longest configuration of ssh.
pub const SSH_CONFIG_BYTES: u64 = 1 << 20;
/// The longest file of known hosts.
pub const KNOWN_HOSTS_BYTES: u64 = 16 << 20;
/// The longest key in a file.
pub const SSH_KEY_BYTES: u64 = 64 << 10;
/// The most hosts to jump over on the way to a server.
pub const SSH_JUMPS: usize = 8;
/// Bytes of one answer of an FTP server.
pub const FTP_REPLY_BYTES: usize = 64 << 10;

/// Bytes of one row of a listing of an FTP server.
pub const FTP_LINE_BYTES: usize = 16 << 10;

/// Bytes of the listing of one folder of an FTP server: more than a million names.
pub const FTP_LISTING_BYTES: usize = 256 << 20;

/// Bytes of a long object that are sent to an FTP server at a time, and kept until it has them.
pub const FTP_PIECE_BYTES: usize = 8 << 20;

/// How often a file is renamed into a folder that others remove.
pub const FTP_RENAMES: u32 = 20;

/// Temporary files on an FTP server that are remembered to be removed later.
pub const FTP_LEFTOVERS: usize = 1_000;

/// Bytes of a file of passwords (`~/.netrc`).
/// Bytes of what a server says of one folder: some 200 000 entries.
pub const TREE_ANSWER_BYTES: usize = 128 << 20;

/// Elements within each other in such an answer.
pub const WEBDAV_ELEMENTS_DEEP: usize = 32;

/// Bytes of one text in it: the longest object name, each byte of it escaped twice, below the path of the storage.
pub const WEBDAV_TEXT_BYTES: usize = 32 << 10;

/// Folders that a server is asked for at a time by one listing.
pub const TREE_FOLDERS_ASKED: usize = 4;

/// Folders within each other that are looked into for whether they are empty.
pub const TREE_FOLDERS_DEEP: usize = 512;

/// Bytes of a long upload that are kept back, to have something to send while nothing comes.
pub const STREAM_RESERVE_BYTES: usize = 4 << 20;

/// Bytes of one piece of a long upload.
pub const STREAM_PIECE_BYTES: usize = 256 << 10;

/// Pieces of it that wait to be sent.
pub const STREAM_PIECES_WAITING: usize = 16;

/// Bytes that are fetched and thrown away where a server cannot begin in the middle of an object.
pub const WEBDAV_SKIPPED_BYTES: u64 = 256 << 20;

/// Bytes of a `.netrc`.
pub const NETRC_BYTES: u64 = 1 << 20;
/// Storages that a mirror may be of.
pub const MIRROR_MEMBERS: usize = 16;

/// Bytes that wait in memory for one storage of a mirror while others have them already.
pub const MIRROR_LAG_BYTES: u64 = 64 << 20;

/// Objects that the report of a mirror names for a storage that has missed changes; beyond it only the count grows.
pub const MIRROR_NAMED: usize = 100;

/// Reads by which the speed of each storage of a mirror is known.
pub const MIRROR_PROBES: u32 = 2;

/// Damaged objects that a mirror remembers, to be repaired.
pub const MIRROR_SUSPECTS: usize = 10_000;

/// Removals that a storage of a mirror has noted for others.
pub const MIRROR_REMOVALS: usize = 1 << 20;

/// Objects of one folder that are compared between storages at a time.
pub const HEAL_ROWS: usize = 1 << 22;

/// How often healing compares all when what it copies is removed meanwhile.
pub const HEAL_PASSES: usize = 3;

/// Bytes of the objects that say which repository a storage holds.
pub const IDENTITY_BYTES: u64 = 64 << 10;

/// Bytes of a password in a file that `openssl -pass file:` takes.
pub const OPENSSL_PASSWORD_BYTES: usize = 1023;

/// Bytes of the header of a stream that age has encrypted: room for all recipients, of any kind.
pub const AGE_HEADER_BYTES: usize = 64 << 10;

/// Recipients of one backup.
pub const AGE_RECIPIENTS: usize = 64;

/// Secret keys that are tried on a backup.
pub const AGE_IDENTITIES: usize = 64;

/// What a password costs (scrypt, base-two logarithm of N): 128 MiB and less than half a second.
pub const AGE_WORK_FACTOR: u8 = 17;

/// The most that a password may cost where it is read: what `age -p` writes, 256 MiB and a second.
pub const AGE_WORK_FACTOR_MAX: u8 = 18;

/// Bytes of a key under a password, as a backup's document holds it.
pub const LOCKED_KEY_BYTES: usize = 4 << 10;

/// Symbolic links behind one another until what the last one points to, as Linux has it.
pub const LINKS_ON_A_WAY: usize = 40;

/// Directories that a backup enters by symbolic links. Links between a few directories lead to more paths than can be walked.
pub const FOLLOWED_DIRECTORIES: u64 = 1 << 20;

/// Containers or buckets of one account: more than any service gives.
pub const CONTAINERS: usize = 1 << 20;

const _: () = assert!(AGE_WORK_FACTOR <= AGE_WORK_FACTOR_MAX && LOCKED_KEY_BYTES < AGE_HEADER_BYTES);
// A recipient of OpenSSH with a key of 4096 bits takes some 750 bytes.
const _: () = assert!(AGE_RECIPIENTS * 1000 < AGE_HEADER_BYTES);
/// Paths of a chain that Freezer's rsync engines wrote: of each a restore keeps some 70 bytes. More are not restored.
pub const FREEZER_PATHS: usize = 1 << 24;

/// Bytes of the header of one record of Freezer's first rsync engine: a path, the target of a link, and small fields.
pub const FREEZER_HEADER_BYTES: usize = 2 * PATH_BYTES + (64 << 10);

/// Bytes of a key in what Freezer packed.
pub const FREEZER_KEY_BYTES: usize = 256;

/// Largest block of Freezer's rsync engines, whose own is 4096 bytes unless the user says otherwise.
pub const FREEZER_BLOCK_BYTES: u64 = 64 << 20;

/// Runs of changed blocks of one file.
pub const FREEZER_BLOCK_RUNS: usize = 1 << 22;

/// Stretches of one file of which it is known that they were never stored; with more they count as one.
pub const FREEZER_MISSING_RANGES: usize = 1024;

/// Bytes of one text in a manifest of Freezer's first rsync engine: a path, each byte of it escaped.
pub const FREEZER_TEXT_BYTES: usize = 6 * PATH_BYTES;
/// The shortest block of the `rsync` engine that can be asked for.
pub const RSYNC_BLOCK_MIN_BYTES: u32 = 512;

/// The longest block of the `rsync` engine.
pub const RSYNC_BLOCK_MAX_BYTES: u32 = 16 << 20;

/// A block of the `rsync` engine, unless the file is small, or has too many of them. The pages of databases and file systems are
/// as long: one that changes costs no more than itself.
pub const RSYNC_BLOCK_BYTES: u32 = 4096;

/// A block of a small file.
pub const RSYNC_SMALL_BLOCK_BYTES: u32 = 1024;

/// Files from this size on have blocks of [`RSYNC_BLOCK_BYTES`].
pub const RSYNC_SMALL_FILE_BYTES: u64 = 1 << 20;

/// Files below this size have no signature: when they change they are stored whole.
pub const RSYNC_SIGNED_MIN_BYTES: u64 = 8 << 10;

/// Blocks of one file: 80 MiB of signature, and some 40 MiB of index. Longer files have longer blocks.
pub const RSYNC_BLOCKS: u64 = 1 << 22;

/// Blocks of one bucket of the index of a signature. More are not found again.
pub const RSYNC_BUCKET: usize = 64;

/// Blocks with one weak sum that a window is compared with.
pub const RSYNC_CANDIDATES: usize = 8;

/// Base-two logarithm of the bits of the filter before such an index.
pub const RSYNC_FILTER_BITS_MAX: u32 = 26;

/// The longest piece of data in a stream of the `rsync` engine.
pub const RSYNC_DATA_BYTES: usize = 256 << 10;

/// What is kept of one entry of a tree by the `rsync` engine.
pub const RSYNC_ITEM_BYTES: u32 = 16 << 20;

/// The tree in the state of one level, in a temporary file: a billion entries.
pub const RSYNC_TREE_BYTES: u64 = 128 << 30;

/// Files from this size on are read and hashed beside the search for what is known of them.
pub const RSYNC_BESIDE_BYTES: u64 = 4 << 20;
/// Longest pattern of what is left out, as tar has them.
pub const PATTERN_BYTES: usize = 64 << 10;

/// Objects that a mirror reads from one storage each.
pub const MIRROR_HELD: usize = 10_000;

const _: () = assert!(PAX_BYTES > XATTR_BYTES + 2 * PATH_BYTES);
const _: () = assert!(SMALL_FILE_BYTES as usize <= BLOCK_BYTES);
const _: () = assert!(NAME_BYTES * 2 + 128 < OBJECT_NAME_BYTES);
const _: () = assert!(OPEN_DIRECTORIES >= 16);
// Six characters of JSON for a byte at worst, two lists, and room for the rest.
const _: () = assert!(DOCUMENT_PATH_BYTES as u64 * 6 * 2 < SMALL_OBJECT_BYTES);
const _: () = assert!(PARALLEL_FRAME_BYTES >= BLOCK_BYTES);
const _: () = assert!(XZ_DICTIONARY_BYTES as usize <= BLOCK_BYTES);
const _: () = assert!(LISTING_BYTES as u64 * 2 <= DUMPDIR_BYTES);
const _: () = assert!(LISTING_BYTES <= u32::MAX as usize);
const _: () = assert!(RESTORE_WINDOW_LARGE_FILES < OPEN_DIRECTORIES);
// A pack is closed by the chunk that fills it; its table has 42 bytes for each.
const _: () = assert!(PACK_CLOSE_BYTES + CHUNK_BYTES + PACK_CHUNKS * 42 + (64 << 10) < PACK_BYTES);
// What an index packs into bits: offset, sealed and raw length, number.
const _: () = assert!(PACK_BYTES <= 1 << 26 && CHUNK_BYTES <= 1 << 24 && PACK_CHUNKS <= 1 << 16);
const _: () = assert!(NODE_BYTES <= CHUNK_BYTES);
// A pack with the most chunks fits into an index, with room for many superseded ones.
const _: () = assert!(PACK_CHUNKS * 42 + 4096 < INDEX_DOCUMENT_BYTES / 4);
// 64 digits, quotes and a comma for each id, in two lists; and room for the rest.
const _: () = assert!(SEEN_IDS as u64 * 67 * 2 + 4096 < SMALL_OBJECT_BYTES);
const _: () = assert!(CHUNK_MIN_BYTES < CHUNK_AVERAGE_BYTES && CHUNK_AVERAGE_BYTES < CHUNK_MAX_BYTES);
// A block is read behind what is left of the one before, which is less than a chunk at most: otherwise nothing would be read.
const _: () = assert!(READ_BLOCK_BYTES > CHUNK_MAX_BYTES);
// The average is used as a number of bits.
const _: () = assert!(CHUNK_AVERAGE_BYTES.is_power_of_two() && CHUNK_AVERAGE_BYTES.ilog2() < u64::BITS - 1);
const _: () = assert!(BUNDLE_MIN_BYTES < BUNDLE_MAX_BYTES && BUNDLE_SPAN_BYTES > BUNDLE_FILE_MIN_BYTES);
// A node has two items at least, so that trees end; with its path and its longest item it is no larger than a reader takes.
const _: () = assert!(2 * TREE_PATH_BYTES <= TREE_NODE_FULL_BYTES);
const _: () = assert!(TREE_NODE_FULL_BYTES + 3 * TREE_PATH_BYTES + (64 << 10) < TREE_NODE_BYTES);
const _: () =
    assert!(TREE_ROWS_MAX * 48 + TREE_XATTR_BYTES + TREE_HOLES_BYTES + 2 * TREE_OWNER_BYTES < 64 << 10);
const _: () =
    assert!(TREE_LIST_ROWS_MAX * 40 + 5 <= TREE_NODE_BYTES && (XATTR_BYTES as u64) * 2 < TREE_CHUNK_BYTES);
const _: () = assert!(S3_PART_MIN_BYTES <= S3_PART_BYTES && S3_PART_BYTES <= S3_PART_MAX_BYTES);
const _: () = assert!(PATH_BYTES * 2 + XATTR_BYTES + LEVEL_MAX as usize * 16 < RSYNC_ITEM_BYTES as usize);
const _: () = assert!(RSYNC_BLOCKS < u32::MAX as u64 && RSYNC_BLOCK_BYTES >= RSYNC_SMALL_BLOCK_BYTES);
const _: () = assert!(RSYNC_SIGNED_MIN_BYTES >= RSYNC_SMALL_BLOCK_BYTES as u64 && RSYNC_FILTER_BITS_MAX < 32);
