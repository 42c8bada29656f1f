#!/usr/bin/env python3
"""Describes a directory tree as a JSON-lines manifest, and verifies a tree against one.

  tree_manifest.py make   TREE [--xattrs] [--level N]              > manifest.jsonl
  tree_manifest.py verify TREE MANIFEST [options]                  prints failures, then "N passed, N failed"
  tree_manifest.py diff   MANIFEST_A MANIFEST_B                    which paths were added/removed/changed

verify options:
  --mtime ns|us|s|none  precision for mtimes of everything but directories (default s;
                        GNU-tar engine keeps whole seconds, floor; rsync engines keep s / float)
  --dir-mtime same|none|ns|us|s   precision for directories (default: same as --mtime)
  --link-mtime ...      precision for symlinks (default: same as --mtime)
  --no-owner            do not compare uid/gid
  --no-mode             do not compare permission bits
  --no-hardlinks        do not compare hardlink groups
  --xattrs              compare extended attributes (incl. POSIX ACLs) too
  --sparse              require that sparse files are still sparse (allocated < size)
  --allow-extra         do not fail on paths in the tree that are not in the manifest
  --skip GLOB           ignore manifest entries (and tree paths) matching GLOB; repeatable
  --skip-type T         ignore entries of this type (file dir symlink fifo socket char block); repeatable
  --no-root             ignore the entry "." itself
  --quiet               only the last line
Exit 0: no failure, 1: failures, 2: usage or unreadable input.
One check is counted per manifest entry, one per hardlink group, and one (failed) per unexpected path.

Manifest: one JSON object per line.  First line {"manifest":1,...}.  Entries, sorted by raw path bytes:
  path      str, relative, "." for the root ("path_b64" instead when it is not valid UTF-8, with "path_lossy")
  type      file|dir|symlink|fifo|socket|char|block
  mode      octal str of the 12 permission bits, e.g. "0644"
  uid gid   int
  mtime_ns  int, ns since the epoch
  size      int (files), sha256 hex (files), allocated int = st_blocks*512 (files)
  target    str (symlinks; "target_b64" when not valid UTF-8)
  rdev      [major, minor] (char, block)
  links     int: id of the hardlink group (only where the inode has more than one name inside the tree)
  xattrs    {name: base64} (only with --xattrs and only when there are some)
"""
import base64, fnmatch, hashlib, json, os, stat, sys

TYPES = [(stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "symlink"), (stat.S_ISFIFO, "fifo"),
         (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "char"), (stat.S_ISBLK, "block")]


def sha256(p):
    h = hashlib.sha256()
    with open(p, "rb") as f:
        for b in iter(lambda: f.read(1 << 20), b""):
            h.update(b)
    return h.hexdigest()


def put(e, k, raw):
    try:
        e[k] = raw.decode("utf-8")
    except UnicodeDecodeError:
        e[k + "_b64"] = base64.b64encode(raw).decode()
        e[k + "_lossy"] = raw.decode("utf-8", "replace")


def get(e, k):
    if k in e:
        return e[k].encode("utf-8")
    if k + "_b64" in e:
        return base64.b64decode(e[k + "_b64"])
    return None


def walk(root):
    """every path below root (bytes, relative), root itself as b'.'; never follows symlinks"""
    out = [b"."]
    todo = [b""]
    while todo:
        d = todo.pop()
        with os.scandir(os.path.join(root, d) if d else root) as it:
            for x in it:
                rel = d + b"/" + x.name if d else x.name
                out.append(rel)
                if x.is_dir(follow_symlinks=False):
                    todo.append(rel)
    return sorted(out)


def describe(root, rel, xattrs=False, content=True):
    p = root if rel == b"." else os.path.join(root, rel)
    st = os.lstat(p)
    e = {}
    put(e, "path", rel)
    e["type"] = next((n for f, n in TYPES if f(st.st_mode)), "unknown")
    e["mode"] = "%04o" % stat.S_IMODE(st.st_mode)
    e["uid"], e["gid"], e["mtime_ns"] = st.st_uid, st.st_gid, st.st_mtime_ns
    if e["type"] == "file":
        e["size"] = st.st_size
        e["allocated"] = st.st_blocks * 512
        if content:
            e["sha256"] = sha256(p)
    elif e["type"] == "symlink":
        put(e, "target", os.readlink(p))
    elif e["type"] in ("char", "block"):
        e["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    if xattrs:
        try:
            xs = {n: base64.b64encode(os.getxattr(p, n, follow_symlinks=False)).decode()
                  for n in sorted(os.listxattr(p, follow_symlinks=False))}
            if xs:
                e["xattrs"] = xs
        except OSError:
            pass
    return e, st


def make(root, xattrs=False, level=None):
    root = os.fsencode(root)
    es, inodes = [], {}
    for rel in walk(root):
        e, st = describe(root, rel, xattrs)
        es.append(e)
        if e["type"] != "dir" and st.st_nlink > 1:
            inodes.setdefault((st.st_dev, st.st_ino), []).append(e)
    n = 0
    for k in inodes:
        if len(inodes[k]) > 1:
            n += 1
            for e in inodes[k]:
                e["links"] = n
    head = {"manifest": 1, "entries": len(es)}
    if level is not None:
        head["level"] = level
    return [head] + es


def load(path):
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(l) for l in f if l.strip()]
    return [r for r in rows if "manifest" not in r]


PREC = {"ns": 1, "us": 1000, "s": 1000000000}


def same_time(a, b, prec):
    if prec == "none":
        return True
    q = PREC[prec]
    return a // q == b // q


def verify(root, entries, o):
    root = os.fsencode(root)
    passed, fails = 0, []

    def skipped(rel, typ=None):
        if rel == b"." and o["no_root"]:
            return True
        if typ in o["skip_type"]:
            return True
        return any(fnmatch.fnmatchcase(os.fsdecode(rel), g) for g in o["skip"])
    seen, groups = set(), {}
    for e in entries:
        rel = get(e, "path")
        seen.add(rel)
        if skipped(rel, e["type"]):
            continue
        name = e.get("path", e.get("path_lossy"))
        try:
            g, st = describe(root, rel, o["xattrs"], content="sha256" in e)
        except OSError as x:
            fails.append("%r: %s" % (name, x.strerror or x))
            continue
        bad = []
        if g["type"] != e["type"]:
            bad.append("type %s, expected %s" % (g["type"], e["type"]))
        else:
            if e["type"] != "symlink" and not o["no_mode"] and g["mode"] != e["mode"]:
                bad.append("mode %s, expected %s" % (g["mode"], e["mode"]))
            if not o["no_owner"] and (g["uid"], g["gid"]) != (e["uid"], e["gid"]):
                bad.append("owner %d:%d, expected %d:%d" % (g["uid"], g["gid"], e["uid"], e["gid"]))
            prec = {"dir": o["dir_mtime"], "symlink": o["link_mtime"]}.get(e["type"], "same")
            prec = o["mtime"] if prec == "same" else prec
            if not same_time(g["mtime_ns"], e["mtime_ns"], prec):
                bad.append("mtime %d, expected %d (to the %s)" % (g["mtime_ns"], e["mtime_ns"], prec))
            for k in ("size", "sha256", "rdev"):
                if k in e and g.get(k) != e[k]:
                    bad.append("%s %s, expected %s" % (k, g.get(k), e[k]))
            if e["type"] == "symlink" and get(g, "target") != get(e, "target"):
                bad.append("target %r, expected %r" % (get(g, "target"), get(e, "target")))
            if o["xattrs"] and g.get("xattrs", {}) != e.get("xattrs", {}):
                bad.append("xattrs %s, expected %s" % (sorted(g.get("xattrs", {})), sorted(e.get("xattrs", {}))))
            if o["sparse"] and e["type"] == "file" and e.get("allocated", e["size"]) < e["size"] <= g["allocated"]:
                bad.append("not sparse: %d allocated for %d" % (g["allocated"], e["size"]))
        if "links" in e:
            groups.setdefault(e["links"], []).append((name, (st.st_dev, st.st_ino)))
        if bad:
            fails.append("%r: %s" % (name, "; ".join(bad)))
        else:
            passed += 1
    if not o["no_hardlinks"]:
        owner = {}
        for k in sorted(groups):
            inos = {i for _, i in groups[k]}
            if len(inos) > 1:
                fails.append("hardlink group %d is %d inodes: %s" % (k, len(inos), [n for n, _ in groups[k]]))
            elif inos & set(owner):
                fails.append("hardlink group %d is joined with another: %s" % (k, [n for n, _ in groups[k]]))
            else:
                passed += 1
            for i in inos:
                owner[i] = k
    if not o["allow_extra"]:
        for rel in walk(root):
            if rel not in seen and not skipped(rel):
                fails.append("%r: not in the manifest" % os.fsdecode(rel))
    return passed, fails


def main(a):
    o = {"mtime": "s", "dir_mtime": "same", "link_mtime": "same", "no_owner": False, "no_mode": False, "no_root": False,
         "no_hardlinks": False, "xattrs": False, "sparse": False, "allow_extra": False, "quiet": False,
         "skip": [], "skip_type": [], "level": None}
    pos, i = [], 0
    while i < len(a):
        k = a[i][2:].replace("-", "_") if a[i].startswith("--") else None
        if k is None:
            pos.append(a[i])
        elif k not in o:
            sys.exit("unknown option %s\n%s" % (a[i], __doc__))
        elif isinstance(o[k], bool):
            o[k] = True
        else:
            i += 1
            if i >= len(a):
                sys.exit("%s needs a value" % a[i - 1])
            o[k] = o[k] + [a[i]] if isinstance(o[k], list) else a[i]
        i += 1
    for k in ("mtime", "dir_mtime", "link_mtime"):
        if o[k] not in ("ns", "us", "s", "none", "same"):
            print("bad value for --%s" % k.replace("_", "-"), file=sys.stderr)
            return 2
    if len(pos) == 2 and pos[0] == "make":
        for r in make(pos[1], o["xattrs"], None if o["level"] is None else int(o["level"])):
            print(json.dumps(r, sort_keys=False))
        return 0
    if len(pos) == 3 and pos[0] == "verify":
        try:
            es = load(pos[2])
            if not os.path.isdir(pos[1]):
                raise OSError("%s is not a directory" % pos[1])
        except (OSError, ValueError) as x:
            print("cannot read: %s" % x, file=sys.stderr)
            return 2
        passed, fails = verify(pos[1], es, o)
        if not o["quiet"]:
            for f in fails:
                print("FAIL " + f)
        print("%d passed, %d failed" % (passed, len(fails)))
        return 1 if fails else 0
    if len(pos) == 3 and pos[0] == "diff":
        A, B = ({get(e, "path"): e for e in load(p)} for p in pos[1:])
        for p in sorted(set(A) | set(B)):
            if p not in B:
                print("- %s" % os.fsdecode(p))
            elif p not in A:
                print("+ %s" % os.fsdecode(p))
            else:
                d = [k for k in sorted(set(A[p]) | set(B[p])) if A[p].get(k) != B[p].get(k) and k != "allocated"]
                if d:
                    print("~ %s (%s)" % (os.fsdecode(p), ", ".join(d)))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
