"""020 Types: every built-in type, and what users make of them, arrives byte for byte as text.

The two databases print dates, intervals, floats and bytea differently on purpose: a value that took
its session's habits along would differ."""
import pytest

from support.world import stream_of

# (type, values as SQL literals): each a row of its own, plus a row of NULL.
TYPES = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"], "int4": ["-2147483648", "0"], "int8": ["-9223372036854775808", "42"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "0.1000", "-1e-30",
                "12345678901234567890123456789.123456789"],
    "numeric(20,4)": ["1.5", "-99999999.9999"],
    "float4": ["'NaN'", "'Infinity'", "'-0'", "1.1", "3.4028235e38", "1e-45"],
    "float8": ["'NaN'", "'-Infinity'", "'-0'", "0.1", "1.7976931348623157e308", "5e-324",
               "0.30000000000000004"],
    "money": ["12.34", "-0.01"],
    "text": ["''", "' '", "'\\N'", "'\\.'", "e'tab\\there\\nline\\r\\nend\\\\'", "'{\"a\",b}'", "'NULL'",
             "'null'", "'ünïcödé \U0001F680 \u202e x'", "'''; drop table x; --'", "'$1'", "repeat('x', 9000)"],
    "varchar(20)": ["''", "'trailing  '"], "char(10)": ["''", "'ab'", "'ab   '"], "\"char\"": ["'c'", "''"],
    "name": ["'a_name'"],
    "bytea": ["''", "'\\x00ff5c27'", "decode(repeat('00ff', 5000), 'hex')"],
    "date": ["'2026-01-31'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", "'12000-01-02'"],
    "time": ["'00:00:00'", "'24:00:00'", "'12:34:56.789012'"],
    "timetz": ["'12:34:56.789+05:30'", "'00:00:00-12'"],
    "timestamp": ["'2026-03-29 02:30:00.000001'", "'infinity'", "'4713-01-01 00:00:00 BC'"],
    "timestamptz": ["'2026-03-29 02:30:00.123456+00'", "'2026-10-25 00:30:00+00'", "'-infinity'"],
    "interval": ["'1 year -2 mons +3 days -04:05:06.789'", "'-1 day'", "'0'", "'1 mon'", "'-1-2 +3 -4:05:06'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "json": ["'{\"b\": 1,  \"a\": [1, null]}'", "'\"x\\u0041\"'", "'null'"],
    "jsonb": ["'{\"b\": 1,  \"a\": [1, null], \"b\": 2}'", "'null'", "'1e3'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "xml": ["'<a b=\"c\">&amp;</a>'"],
    "inet": ["'10.0.0.1'", "'::1/64'"], "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"], "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "point": ["'(0.1,1e300)'"], "line": ["'{1,2,3}'"], "lseg": ["'[(0,0),(1,1)]'"],
    "box": ["'(2,2),(0,0)'"], "path": ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
    "polygon": ["'((0,0),(1,1),(2,0))'"], "circle": ["'<(0,0),1.5>'"],
    "bit(5)": ["B'10101'"], "varbit": ["B''", "B'1011'"],
    "tsvector": ["'a:1A fat:2B,4C ''quo te'''"], "tsquery": ["'fat & (rat | !cat)'"],
    "pg_lsn": ["'16/B374D848'"], "oid": ["4294967295"], "regclass": ["'pg_class'"], "regtype": ["'int4'"],
    "xid": ["'4294967295'"], "xid8": ["'18446744073709551615'"], "tid": ["'(1,2)'"],
    "txid_snapshot": ["'10:20:10,14'"], "pg_snapshot": ["'10:20:10,14'"],
    "int4range": ["'empty'", "'[1,5)'", "'(,)'"], "int8range": ["'[1,)'"], "numrange": ["'(0.1,0.2]'"],
    "daterange": ["'[2026-01-01,2026-02-01)'", "'[-infinity,infinity]'"],
    "tsrange": ["'[2026-01-01 00:00,2026-01-02 12:00)'"],
    "tstzrange": ["'[2026-01-01 00:00+00,2026-01-02 12:00+00)'"],
    "int4multirange": ["'{[1,3),[5,7)}'", "'{}'"], "tstzmultirange": ["'{[2026-01-01 00:00+00,)}'"],
    "int4[]": ["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[2:3]={7,8}'"],
    "text[]": ["'{\"\",NULL,\"NULL\",\"a\\\"b\",\"c\\\\d\",\"{x}\",\" s \"}'", "array[repeat('y', 5000)]"],
    "bytea[]": ["array['\\x00ff'::bytea, null]"], "numeric[]": ["'{NaN,1.10}'"],
    "timestamptz[]": ["array['2026-03-29 02:30+00'::timestamptz]"], "jsonb[]": ["array['{\"a\": 1}'::jsonb]"],
    "interval[]": ["array['1 day -1 hour'::interval]"], "bool[]": ["'{t,f,NULL}'"],
    "int4range[]": ["array['[1,2)'::int4range]"],
    # Made by users.
    "mood": ["'happy'", "'so so'", "'it''s'"], "mood[]": ["'{happy,NULL,\"so so\"}'"],
    "\"Odd Type\"": ["'Ä'"], "positive": ["7"], "positive[]": ["array[1, 2]::positive[]"],
    "short_text": ["''", "'abc'"],
    "address": ["row('1 Main St', null, '{1,2}')", "row('', '', null)", "row('a,b', '\"q\"', '{}')"],
    "address[]": ["array[row('x', 'y', null)::address]"],
    "floatrange": ["'[1.5,2.5]'"], "floatrange[]": ["array['[1.5,2.5]'::floatrange]"],
    "far.away": ["'b'"], "far.away[]": ["'{b,a}'"],
}

USER_TYPES = """
create schema far;
create type mood as enum ('sad', 'so so', 'happy', 'it''s');
create type "Odd Type" as enum ('ä', 'Ä');
create type far.away as enum ('a', 'b');
create domain positive as int check (value > 0);
create domain short_text as varchar(5) not null default '';
create type address as (street text, city text, numbers int[]);
create type floatrange as range (subtype = float8);
"""


def spread(world):
    """Different habits of printing, and different OIDs for the users' types."""
    for name, value in {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "bytea_output": "escape",
                        "timezone": "Asia/Kolkata", "extra_float_digits": "-10",
                        "xmlbinary": "hex"}.items():
        world.source.execute(f"alter database {world.source.database} set {name} = '{value}'")
    for name, value in {"datestyle": "German, MDY", "intervalstyle": "iso_8601",
                        "timezone": "America/New_York"}.items():
        world.target.execute(f"alter database {world.target.database} set {name} = '{value}'")
    world.source.drop_connection()
    world.target.drop_connection()
    world.target.execute("create type pad1 as enum (); create type pad2 as enum ()")
    world.both(USER_TYPES)


def types_of(world):
    """TYPES, but what Postgres 13 lacks where one of the two is a 13."""
    if min(int(server.one("show server_version_num")) for server in (world.source, world.target)) >= 140000:
        return TYPES
    return {sql_type: [value for value in values if sql_type != "numeric" or "nfinity" not in value]
            for sql_type, values in TYPES.items() if "multirange" not in sql_type}


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_every_type(world, kafka):
    spread(world)
    tables, types = [], types_of(world)
    for number, sql_type in enumerate(types):
        world.both(f"create table public.t{number} (id int primary key, v {sql_type})")
        tables.append(f"public.t{number}")
    relay = stream_of(world, tables, kafka=kafka)
    for number, (sql_type, values) in enumerate(types.items()):
        rows = ", ".join(f"({i}, ({value})::{sql_type})" for i, value in enumerate(values))
        world.source.execute(f"insert into t{number} values {rows}")
        if sql_type != "short_text":
            world.source.execute(f"insert into t{number} values (-1, null)")
        # And as an update, from another value of the type and from NULL.
        world.source.execute(f"insert into t{number} select id + 100, v from t{number} where id >= 0")
        if sql_type != "short_text":
            world.source.execute(f"update t{number} set v = (select v from t{number} where id = 0) "
                                 "where id = -1")
    relay.catch_up()
    world.assert_same(*tables)


def test_one_row_of_all_types_and_nulls_everywhere(world):
    spread(world)
    types = types_of(world)
    columns = ", ".join(f"c{i} {t}" for i, t in enumerate(types) if t != "short_text")
    relay = stream_of(world, ["public.wide"], f"create table public.wide (id int primary key, {columns})")
    values = ", ".join(f"({v[0]})::{t}" for t, v in types.items() if t != "short_text")
    world.source.execute(f"insert into wide values (1, {values})")
    world.source.execute("insert into wide (id) values (2)")
    world.source.execute(f"insert into wide values (3, {values})")
    world.source.execute("update wide set c0 = null, c5 = null where id = 3")
    relay.catch_up()
    world.assert_same("wide")


def test_null_is_not_empty(world):
    relay = stream_of(world, ["public.n"], "create table public.n (id int primary key, a text, b text, c bytea, d text[])")
    world.source.execute("insert into n values (1, null, '', '', '{}'), (2, '', null, null, null), (3, 'NULL', '\\N', 'x', '{NULL}')")
    world.source.execute("update n set a = b, b = a where id < 3")
    relay.catch_up()
    world.assert_same("n")
    assert world.target.execute("select a, b from n where id = 1") == [("", None)]


@pytest.mark.parametrize("kafka", [False, True], ids=["embedded", "kafka"])
def test_thirty_megabytes_in_a_value(world, kafka):
    relay = stream_of(world, ["public.big"], "create table public.big (id int primary key, t text, b bytea, n int)",
                      kafka=kafka)
    world.source.execute("""insert into big select 1, string_agg(md5(g::text), ''), null, 1
                            from generate_series(1, 983040) g""")
    world.source.execute("""insert into big select 2, null, decode(string_agg(md5(g::text), ''), 'hex'), 1
                            from generate_series(1, 700000) g""")
    world.source.execute("update big set n = 2")
    relay.catch_up()
    world.assert_same("big")
    assert world.target.one("select length(t) from big where id = 1") == 31457280


def test_odd_names(world):
    odd = ['Upper Case', 'with "quotes"', "it's", "ünï çödé", "select", "back\\slash", "semi;colon", "dollar$1",
           "per%cent", "dot.ted", "{brace}", "new\nline", "x" * 63]
    names = ['"' + name.replace('"', '""') + '"' for name in odd]
    world.both('create schema "Sch ema.1"')
    tables = []
    for name in names:
        table = f'"Sch ema.1".{name}'
        columns = ", ".join(f"{c} text" for c in names)
        world.both(f'create table {table} ("the Key" int primary key, {columns})')
        tables.append(table)
    relay = stream_of(world, tables)
    for table in tables:
        blanks = ", ".join(["'v'"] * len(names))
        world.source.execute(f"insert into {table} values (1, {blanks}), (2, {blanks})")
        world.source.execute(f"""update {table} set {names[0]} = null, "the Key" = 3 where "the Key" = 2""")
    relay.catch_up()
    world.assert_same(*tables)


def test_a_table_of_1600_columns(world):
    """As many as Postgres allows, less the version column's place."""
    columns = ", ".join(f"c{i} int" for i in range(1590))
    relay = stream_of(world, ["public.wide"], f"create table public.wide (id int primary key, {columns})")
    world.source.execute("insert into wide (id, c0, c1589) values (1, 2, 3), (2, null, 5)")
    world.source.execute("update wide set c700 = 7 where id = 1")
    relay.catch_up()
    world.assert_same("wide")


def test_other_encoding_of_the_target(world):
    """Text travels as characters: a LATIN1 database keeps what it can hold."""
    servers = world.servers.get("target")
    servers.execute("create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    from support.postgres import Database
    world.target, fresh = Database(servers, "latin"), world.target
    servers.drop_database(fresh)
    relay = stream_of(world, ["public.words"], "create table public.words (id int primary key, w text)")
    world.source.execute("insert into words values (1, 'Käse'), (2, 'naïve')")
    relay.catch_up()
    world.assert_same("words")
