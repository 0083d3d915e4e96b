"""Scripts at random: mostly sensible, with a bias to what is dangerous.

Each unit ends outside of COPY and of what a server skips, so that units can be joined.
What a client remembers here is what it believes: errors make it wrong at times, which
is wanted; PostgreSQL says what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.protocol.judging import token_prefix
from tests.fuzz.protocol.script import Group, Script, Step
from tests.fuzz.protocol.variants import Variant

NAMES = ("s1", "s2", "s3")
PORTALS = ("", "", "", "p1", "p2")
NO_PORTAL = "p3"
SQL_NAMES = ("q1", "q2", '"Q 1"')
STRANGE_NAMES = ("missing", "PGBOUNCER_0", "PGBOUNCER_1", "PGBOUNCER_2")
SETTINGS = (
    ("application_name", ("'{t}'", "'{t}'", "'same'")),
    ("timezone", ("'UTC'", "'Asia/Tokyo'", "'Europe/Paris'")),
    ("datestyle", ("'ISO, DMY'", "'SQL, MDY'", "'German'")),
    ("intervalstyle", ("'postgres'", "'iso_8601'")),
    ("client_encoding", ("'UTF8'", "'LATIN1'")),
    ("standard_conforming_strings", ("on", "off")),
)
QUOTE_IDENT, QUOTE_LITERAL, NO_FUNCTION = "1282", "1283", "1"
"""Numbers in pg_proc.dat of functions that take a text and need no collation; none."""

TOO_LONG = "{pad:70000}"
"""Over 64 KiB, where pgswitch says it does not look for PREPARE."""

Unit = list[Step]


class Maker:
    """Makes the script of one client."""

    def __init__(
        self, dice: Random, variant: Variant, number: int, client: int
    ) -> None:
        """Begin in the round of this ``number``, remembering nothing."""
        self.dice = dice
        self.variant = variant
        self.client = client
        self._prefix = token_prefix(number, client)
        self._count = 0
        self._is_open = False
        self._named: dict[str, int] = {}
        """Number of parameters of each statement."""
        self._sql: set[str] = set()

    def token(self) -> str:
        """Return a unique word."""
        self._count += 1
        return f"{self._prefix}{self._count}"

    def script(self) -> Script:
        """Return a whole script."""
        count = self.dice.choice((2, 4, 6, 10))
        groups = [self._group() for _ in range(count)]
        if self._is_open and self.dice.random() < 0.7:
            groups.append(Group((Step("Q", ("rollback",)),)))
        if self.dice.random() < 0.2:
            last = self._unit() if self.dice.random() < 0.3 else []
            groups.append(Group((*last, Step("X"))))
        return Script(self.client, tuple(groups))

    def _group(self) -> Group:
        dice = self.dice
        units = dice.choice((1, 1, 1, 2, 2, 3, 4))
        steps = [step for _ in range(units) for step in self._unit()]
        cuts = dice.choice(
            ("one", "one", "one", "steps", "slowly", "random", "random", "bytes")
        )
        if cuts == "random":
            cuts = f"random {dice.randrange(1000)}"
        return Group(tuple(steps), cuts)

    def _unit(self) -> Unit:
        kinds: list[tuple[float, Callable[[], Unit]]] = [
            (4, self._query),
            (6, self._pipeline),
            (1, self._failing_query),
            (1, self._several),
            (1, self._setting),
            (2, self._copy_in),
            (0.7, self._copy_out),
            (0.5, self._function),
            (0.3, self._empty),
            (0.3, self._table),
        ]
        if self.variant.transactions:
            kinds.append((3, self._transaction))
        if self.variant.keeps_names:
            kinds += [(3, self._sql_prepared), (0.2, self._forget_all)]
        return self._one_of(kinds)

    def _one_of(self, kinds: Sequence[tuple[float, Callable[[], Unit]]]) -> Unit:
        """Make a unit of one kind, drawn by weight."""
        makers = [one for _, one in kinds]
        (make,) = self.dice.choices(makers, [weight for weight, _ in kinds])
        return make()

    # -- the simple protocol -------------------------------------------------------

    def _query(self) -> Unit:
        return [Step("Q", (self._select(),))]

    def _select(self) -> str:
        """Return a text without parameters."""
        token = self.token()
        texts = [
            f"select '{token}'",
            f"select '{token}'",
            f"select '{token}' || g from generate_series(1, 3) g",
            f"select murmur('{token}')",
            f"select '{token}', current_setting('application_name')",
            f"select '{token}', current_setting('timezone')",
            f"select '{token}', current_setting('datestyle')",
        ]
        if self.dice.random() < 0.04:
            texts = [f"select '{token}' /* {{pad:{self._length()}}} */"]
        if self.variant.rules and self.dice.random() < 0.5:
            texts = [
                f"/*two*/ select '{token}'",
                f"/*one*/ select '{token}'",
                f"/*rewritten*/ select '{token}'",
            ]
        return self.dice.choice(texts)

    def _length(self) -> int:
        return self.dice.choice((100, 5000, 16380, 20000, 70000))

    def _failing(self) -> str:
        token = self.token()
        return self.dice.choice(
            (
                f"select '{token}'::int",
                f"select shout('{token}')",
                f"selct '{token}'",
                f"select '{token}' from missing",
                f"insert into g{self.client} values (1, '{token}')",
            )
        )

    def _failing_query(self) -> Unit:
        return [Step("Q", (self._failing(),))]

    def _several(self) -> Unit:
        parts = [
            self._failing() if self.dice.random() < 0.2 else self._select()
            for _ in range(self.dice.randint(2, 3))
        ]
        return [Step("Q", ("; ".join(parts),))]

    def _empty(self) -> Unit:
        return [Step("Q", (self.dice.choice(("", ";", " ", "-- nothing", "/**/;")),))]

    def _table(self) -> Unit:
        table, token = f"f{self.client}", self.token()
        return [
            Step(
                "Q",
                (
                    self.dice.choice(
                        (
                            f"insert into {table} values ({self._id()}, '{token}')",
                            f"select id, v from {table} order by id",
                            f"update {table} set v = '{token}' where id = {self._id()}",
                        )
                    ),
                ),
            )
        ]

    def _id(self) -> int:
        return self.dice.randint(1, 4)

    def _function(self) -> Unit:
        number = self.dice.choice(
            (QUOTE_IDENT, QUOTE_IDENT, QUOTE_LITERAL, NO_FUNCTION)
        )
        return [Step("F", (number, self.token()))]

    def _setting(self) -> Unit:
        return self._said(self._setting_text())

    def _setting_text(self) -> str:
        name, values = self.dice.choice(SETTINGS)
        value = self.dice.choice(values).format(t=self.token())
        return self.dice.choice(
            (
                f"set {name} to {value}",
                f"set {name} to {value}",
                f"set session {name} = {value}",
                f"set local {name} = {value}",
                f"reset {name}",
                f"show {name}",
                f"set {name} to default",
            )
        )

    def _transaction(self) -> Unit:
        if not self._is_open:
            self._is_open = True
            text = self.dice.choice(
                ("begin", "begin", "start transaction", "begin; select 'in'")
            )
        else:
            text = self.dice.choice(
                (
                    *("commit", "commit", "rollback", "rollback", "end"),
                    *("savepoint a", "rollback to a", "release a"),
                    "commit and chain",
                )
            )
            self._is_open = text.startswith(("savepoint", "rollback to", "release"))
            self._is_open |= text.endswith("chain")
        return self._said(text)

    def _said(self, text: str) -> Unit:
        """Return a text without parameters in one protocol or the other."""
        if self.dice.random() < 0.6:
            return [Step("Q", (text,))]
        return [*self._run(text), Step("S")]

    def _run(self, text: str) -> Unit:
        return [Step("P", ("", text)), Step("B", ("", "")), Step("E", ("", "0"))]

    # -- PREPARE and its kin -------------------------------------------------------

    def _sql_prepared(self) -> Unit:
        text = self._sql_text()
        if self.dice.random() < 0.15:
            other = self._failing() if self.dice.random() < 0.3 else self._select()
            if TOO_LONG in other:
                other = "select 1"
            parts = [text, other]
            self.dice.shuffle(parts)
            return [Step("Q", ("; ".join(parts),))]
        return self._said(text)

    def _sql_text(self) -> str:
        dice = self.dice
        name = dice.choice(SQL_NAMES)
        word = dice.random()
        if name not in self._sql and word < 0.6:
            word = 0.0
        if word < 0.35:
            self._sql.add(name)
            return self._prepare(name)
        if word < 0.8:
            return dice.choice(
                (
                    f"execute {name}",
                    f"execute {name}",
                    f"execute {name}",
                    f"EXECUTE {name};",
                    f"/* led */ execute {name}",
                    f"-- led\n execute {name}",
                    f"explain (costs off) execute {name}",
                    "execute nobody",
                )
            )
        self._sql.discard(name)
        dropped = dice.choice((name, name, name, dice.choice(NAMES), "nobody"))
        return dice.choice(
            (
                f"deallocate {dropped}",
                f"deallocate prepare {dropped}",
                f"/* led */ deallocate {dropped}",
            )
        )

    def _prepare(self, name: str) -> str:
        token = self.token()
        return self.dice.choice(
            (
                f"prepare {name} as select '{token}'",
                f"prepare {name} as select '{token}'",
                f"PREPARE {name} AS select '{token}' as one, 2 as two;",
                f"prepare {name} as select '{token}' || g from generate_series(1, 2) g",
                f"/* led */ prepare {name} as select '{token}'",
                f"-- led\nprepare {name} as select '{token}'",
                f"prepare {name} as select E'\\\\{token}'",
                f"prepare {name} as select '{token}\\'",
                f"prepare {name} as select $a$;{token}$a$",
                f"prepare {name} as select '{token}' from missing",
                f"prepare {name} as selct '{token}'",
                f"prepare {name} as select shout('{token}')",
            )
        )

    def _forget_all(self) -> Unit:
        text = self.dice.choice(("deallocate all", "deallocate all", "discard all"))
        if self.dice.random() < 0.7:
            self._named.clear()
            self._sql.clear()
        return self._said(text)

    # -- the extended protocol -----------------------------------------------------

    def _pipeline(self) -> Unit:
        """Return some statements and a Sync.

        A Query before the Sync is left out: PostgreSQL 18.6 itself answers the next
        pipeline by XX000 then.
        """
        unit: Unit = []
        for _ in range(self.dice.choice((1, 1, 1, 2, 3, 4))):
            unit += self._statement()
            if self.dice.random() < 0.1:
                unit.append(Step("H"))
        return [*unit, Step("S")]

    def _statement(self) -> Unit:
        if not self.variant.keeps_names:
            return self._fresh() if self.dice.random() < 0.9 else self._late()
        kinds: tuple[tuple[float, Callable[[], Unit]], ...] = (
            (45, self._fresh),
            (30, self._use_known),
            (5, self._close_named),
            (4, lambda: [Step("C", ("P", self.dice.choice(PORTALS)))]),
            (4, lambda: [Step("D", ("S", self.dice.choice((*NAMES, "missing"))))]),
            (6, lambda: [self._parse(self.dice.choice(NAMES))[0]]),
            (3, lambda: self._run(self._failing())),
            (3, self._late),
        )
        return self._one_of(kinds)

    def _use_known(self) -> Unit:
        name = self.dice.choice((*self._named, *NAMES))
        if self.dice.random() < 0.08:
            name = self.dice.choice(STRANGE_NAMES)
        return self._use(name, self._named.get(name, 0))

    def _close_named(self) -> Unit:
        name = self.dice.choice(NAMES)
        self._named.pop(name, None)
        return [Step("C", ("S", name))]

    def _late(self) -> Unit:
        """Return what relies on what came before, and may find nothing.

        Never the unnamed portal: an Execute of what a failed Query has left behind
        there ends PostgreSQL 18.6 by a segmentation fault.
        """
        return self.dice.choice(
            (
                [Step("B", ("", "")), Step("E", ("", "0"))],
                [Step("E", (NO_PORTAL, "0"))],
                [Step("D", ("P", NO_PORTAL))],
            )
        )

    def _fresh(self) -> Unit:
        """Return a Parse and what uses its statement."""
        dice = self.dice
        name = dice.choice(("", *NAMES))
        unit: Unit = []
        if not self.variant.keeps_names and name:
            # Not to last: closed before and, mostly, after.
            unit = [Step("C", ("S", name))]
        elif name in self._named and dice.random() < 0.7:
            unit = [Step("C", ("S", name))]
        parse, count = self._parse(name)
        unit.append(parse)
        if dice.random() < 0.2:
            unit.append(Step("D", ("S", name)))
        unit += self._use(name, count)
        if not self.variant.keeps_names and name:
            unit.append(Step("C", ("S", name)))
        return unit

    def _parse(self, name: str) -> tuple[Step, int]:
        """Return a Parse, and how many parameters its statement has."""
        token = self.token()
        shared = self.dice.choice(("one", "two"))
        text, count = self.dice.choice(
            (
                (f"select '{token}'", 0),
                (f"select '{token}'", 0),
                (f"select '{token}', $1::text", 1),
                # The same text as other clients have; the token is the value.
                (f"select $1::text as {shared}", 1),
                (f"select $1::text as {shared}", 1),
                ("select $1::text || g from generate_series(1, 5) g", 1),
                (f"select '{token}' from missing", 0),
                (f"select shout('{token}')", 0),
                ("select shout($1)", 1),
                (f"insert into f{self.client} values ({self._id()}, $1)", 1),
                (f"select v from f{self.client} order by id", 0),
                ("", 0),
            )
        )
        if self.variant.rules and self.dice.random() < 0.4:
            mark = self.dice.choice(("/*two*/", "/*one*/", "/*rewritten*/"))
            if name:
                mark = "/*rewritten*/"  # The others keep a name in one place.
            text, count = f"{mark} select '{token}', $1::text", 1
        if self.dice.random() < 0.02:
            text, count = f"select '{token}' /* {{pad:{self._length()}}} */", 0
        if name:
            self._named.setdefault(name, count)
        return Step("P", (name, text)), count

    def _use(self, name: str, count: int) -> Unit:
        dice = self.dice
        portal = dice.choice(PORTALS)
        if dice.random() < 0.03:
            count += 1
        values = [self.token() for _ in range(count)]
        if values and dice.random() < 0.03:
            values[0] += f"{{pad:{self._length()}}}"
        unit = [Step("B" if dice.random() < 0.85 else "Bb", (portal, name, *values))]
        if dice.random() < 0.3:
            unit.append(Step("D", ("P", portal)))
        if dice.random() < 0.15:
            unit += [Step("E", (portal, "2")), Step("E", (portal, "0"))]
        elif dice.random() < 0.95:
            unit.append(Step("E", (portal, "0")))
        if portal and dice.random() < 0.5:
            unit.append(Step("C", ("P", portal)))
        return unit

    # -- COPY ----------------------------------------------------------------------

    def _copy_in(self) -> Unit:
        dice = self.dice
        table = dice.choice(("f", "f", "f", "v", "g")) + str(self.client)
        text = f"copy {table} from stdin"
        if dice.random() < 0.15:
            text = f"copy f{self.client} (id, nothing) from stdin"
        rest = [*self._data(), self._copy_end()]
        if dice.random() < 0.25:
            # A client that does not wait to see whether COPY goes on.
            rest.insert(dice.randint(0, len(rest) - 1), Step("S"))
        way = dice.random()
        if way < 0.2:
            return [Step("Q", (f"{text}; select '{self.token()}'",)), *rest]
        if way < 0.3:
            more = [*self._data(), self._copy_end()]
            return [Step("Q", (f"{text}; {text}",)), *rest, *more]
        if way < 0.35:
            return [*rest, Step("S")]  # With no COPY at all.
        if way < 0.65:
            return [Step("Q", (text,)), *rest]
        unit = self._run(text)
        if dice.random() < 0.6:
            unit.append(Step("S"))  # As libpq has it.
        elif dice.random() < 0.3:
            unit.append(Step("H"))
        behind = self._run(self._select()) if dice.random() < 0.2 else []
        return [*unit, *rest, *behind, Step("S")]

    def _data(self) -> Unit:
        rows = []
        for _ in range(self.dice.randint(0, 3)):
            token = self.token()
            good = f"{self.dice.randint(1, 50)}\t{token}\n"
            bad = self.dice.choice((f"{token}\t{token}\n", "1\n", "1\ta\nx\ty\n"))
            row = bad if self.dice.random() < 0.25 else good
            if self.dice.random() < 0.05:
                row = f"{self.dice.randint(51, 99)}\t{{pad:{self._length()}}}\n"
            rows.append(Step("d", (row,)))
        return rows

    def _copy_end(self) -> Step:
        if self.dice.random() < 0.75:
            return Step("c")
        return Step("f", (f"failed {self.token()}",))

    def _copy_out(self) -> Unit:
        token = self.token()
        return self._said(
            self.dice.choice(
                (
                    f"copy (select '{token}') to stdout",
                    f"copy (select '{token}' from generate_series(1, 5)) to stdout",
                    f"copy f{self.client} to stdout",
                    f"copy (select shout('{token}')) to stdout",
                )
            )
        )
