"""One branch of a remote repository: read a folder of it, and change that folder by commits.

Works on a bare, shallow copy without a work tree. A commit is made from the branch's newest commit
with some files replaced, so there is nothing to merge: where somebody else pushes first, the change
is worked out anew from what is there then, and may come out as none at all.

Git's own references remember, through a kill, what was pushed: `refs/ostinato/pushed` is the last
commit that is known to have arrived, `refs/ostinato/pending` one that may have.
"""

from __future__ import annotations

import fcntl
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from feature_repo.stream.retry import pause_s
from serving.rollout.gitops.commits import Change, Commit, Identity
from serving.rollout.gitops.git import Git, GitError, RejectedError, UnreachableError

logger = logging.getLogger(__name__)

PUSHED, PENDING = "refs/ostinato/pushed", "refs/ostinato/pending"
_LISTINGS = 8


class Repository:
    """One branch of a remote repository.

    Args:
        git: the program and its remote.
        branch: that is changed.
        folder: for the bare copy; made anew where it is missing.
        identity: who commits.
        owned: folder in the repository that may be changed, "" for all of it.
        attempts: how often a push is tried.
        pause: waits for some seconds.
    """

    def __init__(
        self,
        git: Git,
        branch: str,
        folder: Path,
        identity: Identity,
        owned: str = "",
        attempts: int = 10,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._git = git
        self.branch = branch
        self._folder = folder
        self._identity = identity
        self._owned = PurePosixPath(owned)
        self._attempts = attempts
        self._pause = pause
        # Git never changes what a hash names; so nothing is read twice.
        self._listings: dict[str, dict[str, tuple[str, str]]] = {}
        self._texts: dict[str, str] = {}
        self._references: dict[str, str | None] = {}

    @property
    def url(self) -> str:
        """The remote, without any secret."""
        return self._git.url

    def head(self, branch: str = "") -> str | None:
        """Fetch a branch and return its newest commit, or None where there is no such branch.

        Raises:
            GitError: the remote can't be read.
        """
        return self._patiently(lambda: self._fetch(branch or self.branch))

    def text(self, commit: str, path: str) -> str | None:
        """Return a file of a commit, or None where it has none.

        Raises:
            GitError: it is no UTF-8 text.
        """
        kind, blob = self._entry(commit, path)
        if kind != "blob":
            return None
        if blob not in self._texts:
            try:
                self._texts[blob] = self._run("cat-file", "blob", blob).decode("utf-8")
            except UnicodeDecodeError:
                told = f"{path} in {commit[:12]} of {self.url} is not UTF-8 text"
                raise GitError(told) from None
        return self._texts[blob]

    def tree(self, commit: str, path: str) -> str:
        """Return the hash of everything in a folder of a commit, "" where it has none."""
        kind, tree = self._entry(commit, path)
        return tree if kind == "tree" else ""

    def describe(self, commit: str) -> Commit:
        """Return who made a commit, and its subject."""
        told = self._run("log", "-1", "--format=%H%x00%an <%ae>%x00%s", commit).decode()
        return Commit(*told.rstrip("\n").split("\0"))

    def message(self, commit: str) -> str:
        """Return the whole message of a commit."""
        return self._run("log", "-1", "--format=%B", commit).decode().strip()

    def known(self, reference: str) -> str | None:
        """Return the commit that a reference of ours names, or None."""
        if reference not in self._references:
            told = self._run("for-each-ref", "--format=%(objectname)", reference).decode().strip()
            self._references[reference] = told or None
        return self._references[reference]

    def remember(self, reference: str, commit: str) -> None:
        """Let a reference of ours name a commit."""
        self._run("update-ref", reference, commit)
        self._references[reference] = commit

    def update(self, change: Callable[[str], Change | None], branch: str = "") -> str | None:
        """Change a branch by one commit.

        Args:
            change: says, for the branch's newest commit, what is to be changed, or None if
                nothing is. It is asked anew whenever somebody else was first.
            branch: that gets the commit; a branch that isn't there yet begins at the
                repository's own branch.

        Returns:
            the commit, or None where nothing was to be changed.

        Raises:
            GitError: the branch can't be read or written, or others are first every time.
        """
        target = branch or self.branch
        last: GitError | None = None
        for attempt in range(self._attempts):
            if last is not None:
                wait = pause_s(attempt)
                logger.info("push %d was in vain, next in %.1f s: %s", attempt, wait, last.message)
                self._pause(wait)
            try:
                base = self._fetch(target) or self._fetch(self.branch)
                if base is None:
                    raise GitError(
                        f"{self.url} has no branch {self.branch}",
                        "push people's part of the layout first; infra/gitops has an example",
                    )
                wanted = change(base)
                if wanted is None:
                    return None
                commit = self._commit(base, wanted)
                self.remember(PENDING, commit)
                self._push(f"{commit}:refs/heads/{target}")
            except (RejectedError, UnreachableError) as error:
                last = error
            else:
                self.remember(PUSHED, commit)
                return commit
        raise GitError(
            f"the commit could not be pushed to {target} of {self.url} in {self._attempts} "
            f"attempts; last: {last.message if last else ''}",
            "see whether a rule or a hook refuses the bot, or who else pushes all the time",
        )

    def delete(self, branch: str) -> None:
        """Remove a branch of the remote, if it is there.

        Raises:
            GitError: it can't be removed.
        """
        if self.head(branch) is not None:
            self._patiently(lambda: self._push(f":refs/heads/{branch}"))

    def _patiently(self, action: Callable[[], str | None]) -> str | None:
        for attempt in range(self._attempts):
            try:
                return action()
            except (RejectedError, UnreachableError):
                if attempt + 1 == self._attempts:
                    raise
                self._pause(pause_s(attempt))
        raise AssertionError  # there is at least one attempt

    def _fetch(self, branch: str) -> str | None:
        local = f"refs/remotes/origin/{branch}"
        try:
            self._run(
                *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--force"),
                *("--no-recurse-submodules", "--", self.url, f"+refs/heads/{branch}:{local}"),
            )
        except GitError as error:
            if "couldn't find remote ref" in error.message:
                return None
            raise
        return self._run("rev-parse", "--verify", local).decode().strip()

    def _push(self, refspec: str) -> None:
        # No force of any kind: the remote takes it only on top of what we have seen.
        self._run("push", "--porcelain", "--no-verify", "--", self.url, refspec)

    def _commit(self, base: str, change: Change) -> str:
        """Make a commit on top of another one and return its hash."""
        owned = self._owned
        if any(not PurePosixPath(path).is_relative_to(owned) for path in change.files):
            raise GitError(f"{', '.join(change.files)}: the bot owns only {owned}/")
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._run("read-tree", base, variables=index)
            entries = b"".join(self._index_entry(*file) for file in sorted(change.files.items()))
            self._run("update-index", "-z", "--index-info", stdin=entries, variables=index)
            tree = self._run("write-tree", variables=index).decode().strip()
        name, email = self._identity.name, self._identity.email
        who = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{role}_EMAIL": email for role in ("AUTHOR", "COMMITTER")}
        made = self._run(
            "commit-tree", tree, "-p", base, stdin=change.message.encode(), variables=who
        )
        commit = made.decode().strip()
        # Whatever the reason (a link in the place of a folder, say): nothing else may change.
        told = self._run("diff-tree", "-r", "-z", "--no-commit-id", "--name-only", base, commit)
        changed = set(told.decode().split("\0")) - {""}
        if not changed or changed - change.files.keys():
            raise GitError(
                f"the commit would change {', '.join(sorted(changed)) or 'nothing'}, and not just "
                f"{', '.join(sorted(change.files))}",
                f"look at {owned} in {self.url}",
            )
        return commit

    def _index_entry(self, path: str, content: str | None) -> bytes:
        """Store a content and return its line of `update-index --index-info`; None removes."""
        if content is None:
            return f"0 {'0' * 40}\t{path}\0".encode()
        blob = self._run("hash-object", "-w", "--stdin", stdin=content.encode()).decode().strip()
        return f"100644 {blob}\t{path}\0".encode()

    def _entry(self, commit: str, path: str) -> tuple[str, str]:
        return self._listing(commit).get(PurePosixPath(path).as_posix(), ("", ""))

    def _listing(self, commit: str) -> dict[str, tuple[str, str]]:
        """Return kind and hash of every file and folder of a commit, by path."""
        if commit not in self._listings:
            found: dict[str, tuple[str, str]] = {}
            told = self._run("ls-tree", "-r", "-t", "-z", "--full-tree", commit).decode()
            for line in told.split("\0")[:-1]:
                mode, kind, rest = line.split(" ", 2)
                name, path = rest.split("\t", 1)
                # What a link points to is nobody's to write to.
                found[path] = ("link" if mode == "120000" else kind, name)
            self._listings = dict([*self._listings.items()][-_LISTINGS:]) | {commit: found}
        return self._listings[commit]

    def _run(
        self, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> bytes:
        with self._locked() as lock:
            return self._git.run(
                *arguments, folder=self._folder, stdin=stdin, variables=variables, fds=(lock,)
            )

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the copy; Git inherits the lock and so keeps it if this process is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "ostinato.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self._folder / "HEAD").exists():
                self._git.run("init", "--bare", "--quiet", ".", folder=self._folder)
            # Nobody else is at work, so Git's own lock files are those of a Git that was killed.
            for left in (*self._folder.glob("*.lock"), *(self._folder / "refs").rglob("*.lock")):
                if left.name != "ostinato.lock":
                    left.unlink(missing_ok=True)
            yield lock.fileno()
