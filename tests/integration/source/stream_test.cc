// Slots, streams and acknowledgements against a real Postgres.
#include "tests/integration/source/source_fixture.h"

namespace t = millrace::testing;
using namespace millrace;
using namespace millrace::source;
using namespace millrace::testing;

TEST_CASE("source: rows, keys, TOAST, truncate and messages arrive as they were written") {
  Source source;
  source.run_each({
      "CREATE TYPE mood AS ENUM ('sad', 'happy')",
      "CREATE DOMAIN cents AS int CHECK (value >= 0)",
      "CREATE TABLE people (id int PRIMARY KEY, name text, bio text, m mood, c cents)",
      "ALTER TABLE people ALTER bio SET STORAGE EXTERNAL",
      "CREATE TABLE full_keyed (id int PRIMARY KEY, bio text)",
      "ALTER TABLE full_keyed ALTER bio SET STORAGE EXTERNAL",
      "ALTER TABLE full_keyed REPLICA IDENTITY FULL",
      "CREATE TABLE full_bare (a int, b text)",
      "ALTER TABLE full_bare REPLICA IDENTITY FULL",
      "CREATE TABLE \"Odd name\" (\"Key\" int PRIMARY KEY, v text)",
      "CREATE PUBLICATION pub FOR ALL TABLES",
  });
  Replication replication(source.options);
  must(replication.connect());
  const Identity identity = must(replication.identify());
  CHECK(identity.timeline == 1);
  CHECK(identity.system_identifier ==
        source.value("SELECT system_identifier FROM pg_control_system()"));
  const Lsn consistent = must(replication.create_slot());
  CHECK(consistent > Lsn{0});
  must(replication.start(Lsn{}));
  Reader reader(source);

  source.run_each({"BEGIN", "INSERT INTO people VALUES (1, 'Ada', repeat('x', 2500), 'sad', 5)",
                   "INSERT INTO people VALUES (2, NULL, '', 'happy', NULL)", "COMMIT"});
  reader.read(replication, 1);
  CHECK(joined(reader.take()) ==
        "begin\n"
        "insert public.people 0 after ('1', 'Ada', 2500 bytes, 'sad', '5')\n"
        "insert public.people 1 after ('2', null, '', 'happy', null)\n"
        "commit\n");
  CHECK(t::render(*reader.recorder.tables.back()) ==
        "public.people [1] *id:23 name:25 bio:25 m:public.mood c:pg_catalog.int4");

  source.run_each({"UPDATE people SET name = 'Grace' WHERE id = 1",
                   "UPDATE people SET id = 10 WHERE id = 1", "DELETE FROM people WHERE id = 10"});
  reader.read(replication, 4);
  CHECK(joined(reader.take()) ==
        "begin\n"
        "update public.people 0 after ('1', 'Grace', unchanged, 'sad', '5')\n"
        "commit\nbegin\n"
        "update public.people 0 before ('1', null, null, null, null) after ('10', 'Grace', "
        "unchanged, 'sad', '5')\n"
        "commit\nbegin\n"
        "delete public.people 0 before ('10', null, null, null, null)\n"
        "commit\n");

  source.run_each({"INSERT INTO full_keyed VALUES (1, repeat('y', 2500))",
                   "UPDATE full_keyed SET id = 2", "UPDATE full_keyed SET id = 2",
                   "DELETE FROM full_keyed"});
  reader.read(replication, 8);
  CHECK(joined(reader.take()) ==
        "begin\ninsert public.full_keyed 0 after ('1', 2500 bytes)\ncommit\n"
        "begin\nupdate public.full_keyed 0 before ('1', null) after ('2', 2500 bytes)\ncommit\n"
        "begin\nupdate public.full_keyed 0 after ('2', 2500 bytes)\ncommit\n"
        "begin\ndelete public.full_keyed 0 before ('2', null)\ncommit\n");

  source.run_each({"INSERT INTO full_bare VALUES (1, NULL)", "UPDATE full_bare SET b = 'b'",
                   "DELETE FROM full_bare", "INSERT INTO \"Odd name\" VALUES (1, '€')",
                   "TRUNCATE people, full_bare RESTART IDENTITY"});
  reader.read(replication, 13);
  CHECK(joined(reader.take()) ==
        "begin\ninsert public.full_bare 0 after ('1', null)\ncommit\n"
        "begin\nupdate public.full_bare 0 before ('1', null) after ('1', 'b')\ncommit\n"
        "begin\ndelete public.full_bare 0 before ('1', 'b')\ncommit\n"
        "begin\ninsert public.\"Odd name\" 0 after ('1', '€')\ncommit\n"
        "begin\ntruncate public.people 0 with 2 from 0 restart\n"
        "truncate public.full_bare 1 with 2 from 0 restart\ncommit\n");

  Catalog catalog(source.options);
  must(catalog.emit_message("beat", "outside", false));
  const std::string raw("in\0side", 7);
  const Lsn written = must(catalog.emit_message("out", raw, true));
  CHECK(written > consistent);
  reader.read(replication, 14);
  CHECK(joined(reader.take()) ==
        "message out beat: outside\nbegin\nmessage in out: " + raw + "\ncommit\n");
  save("everything", reader.captured);
  replication.stop();
}

TEST_CASE("source: open transactions arrive in blocks, and are told of when they commit") {
  Source source;
  source.options.streaming = true;
  source.run_each({
      "CREATE TYPE mood AS ENUM ('sad', 'happy')",
      "CREATE TABLE t (id int PRIMARY KEY, m mood, v text)",
      "CREATE PUBLICATION pub FOR TABLE t",
      fmt::format("ALTER DATABASE {} SET logical_decoding_work_mem = '64kB'", source.options.slot),
  });
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  Reader reader(source);
  const auto fill = [](int from, int to) {
    return fmt::format(
        "INSERT INTO t SELECT g, 'sad', repeat('x', 100) FROM generate_series({}, {}) g", from, to);
  };
  source.run_each({"BEGIN", fill(1, 600), "SAVEPOINT a", fill(601, 1200), "SAVEPOINT b",
                   fill(1201, 1800), "ROLLBACK TO b", "UPDATE t SET v = 'y' WHERE id % 100 = 0",
                   "ROLLBACK TO a", "ALTER TABLE t ADD w int", fill(601, 1200), "TRUNCATE t",
                   "INSERT INTO t VALUES (1, 'happy', 'z', 7)", "COMMIT"});
  source.run_each(
      {"BEGIN", fill(2, 1200), "ROLLBACK", "INSERT INTO t VALUES (2, 'happy', 'z', 8)"});
  reader.read(replication, 2);
  const auto lines = reader.take();
  REQUIRE(lines.size() == 600 + 600 + 4 + 3);
  CHECK(lines[1] == "insert public.t 0 after ('1', 'sad', 100 bytes)");
  CHECK(lines[600] == "insert public.t 599 after ('600', 'sad', 100 bytes)");
  CHECK(lines[601] == "insert public.t 600 after ('601', 'sad', 100 bytes, null)");
  CHECK(lines[1201] == "truncate public.t 1200 with 1 from 1200");
  CHECK(lines[1202] == "insert public.t 1201 after ('1', 'happy', 'z', '7')");
  CHECK(lines[1205] == "insert public.t 0 after ('2', 'happy', 'z', '8')");
  CHECK(reader.captured.find(join_message("E")) != std::string::npos);  // it was streamed
  CHECK(reader.open.messages.empty());
}

TEST_CASE("source: values travel in the pinned text forms, whatever role and database say") {
  Source source;
  source.run_each({
      fmt::format("ALTER DATABASE {} SET DateStyle = 'German, DMY'", source.options.slot),
      fmt::format("ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo'", source.options.slot),
      fmt::format("ALTER DATABASE {} SET bytea_output = 'escape'", source.options.slot),
      fmt::format("ALTER DATABASE {} SET extra_float_digits = 0", source.options.slot),
      fmt::format("ALTER DATABASE {} SET IntervalStyle = 'iso_8601'", source.options.slot),
      "CREATE TABLE v (id int PRIMARY KEY, ts timestamptz, b bytea, f float8, i interval, r "
      "regclass)",
      "CREATE PUBLICATION pub FOR TABLE v",
  });
  // The user's own options are kept, ours win.
  source.options.dsn += " options='-c work_mem=1234kB -c DateStyle=SQL'";
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  CHECK(source.value("SHOW work_mem") == "1234kB");
  source.run_each(
      {"INSERT INTO v VALUES (1, '2026-11-20 10:00:00+00', '\\x0001', 0.1::float8 + 0.2, "
       "'1 day 02:03:04', 'public.v')"});
  Reader reader(source);
  reader.read(replication, 1);
  CHECK(reader.recorder.lines[1] ==
        "insert public.v 0 after ('1', '2026-11-20 10:00:00+00', '\\x0001', '0.30000000000000004', "
        "'1 day 02:03:04', 'public.v')");
  save("values", reader.captured);
}

TEST_CASE("source: only set_flushed moves the slot, soon and to the end of the commit") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Catalog catalog(source.options);
  {
    Replication replication(source.options);
    must(replication.connect());
    must(replication.create_slot());
    must(replication.start(Lsn{}));
    Reader reader(source);
    source.run_each({"INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)"});
    reader.read(replication, 2);
    std::this_thread::sleep_for(Millis(300));
    CHECK(must(catalog.slot(source.options.slot))->confirmed_flush_lsn <
          reader.recorder.commits[0]);

    const Lsn first = reader.recorder.commits[0];
    const auto before = std::chrono::steady_clock::now();
    replication.set_flushed(first);
    CHECK(eventually(
        [&] { return must(catalog.slot(source.options.slot))->confirmed_flush_lsn == first; }));
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::milliseconds(1000));
    // A number beyond all WAL is not passed on.
    replication.set_flushed(Lsn{first.value + (uint64_t{1} << 40)});
    std::this_thread::sleep_for(Millis(200));
    CHECK(must(catalog.slot(source.options.slot))->confirmed_flush_lsn <=
          must(catalog.server()).insert_lsn);
  }
  // What was acknowledged does not come again; what came after the last commit does.
  source.run_each({"INSERT INTO a VALUES (3)"});
  Replication again(source.options);
  must(again.connect());
  CHECK(eventually([&] { return again.start(Lsn{}).has_value(); }));
  Reader reader(source);
  reader.read(again, 1);
  CHECK(joined(reader.take()) == "begin\ninsert public.a 0 after ('3')\ncommit\n");
}

TEST_CASE("source: stop() leaves the last acknowledgement with the server") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Catalog catalog(source.options);
  source.options.status_interval = Millis(60'000);
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  Reader reader(source);
  source.run_each({"INSERT INTO a VALUES (1)"});
  reader.read(replication, 1);
  replication.set_flushed(reader.recorder.commits[0]);
  const auto before = std::chrono::steady_clock::now();
  replication.stop();
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::milliseconds(900));
  CHECK(must(catalog.slot(source.options.slot))->confirmed_flush_lsn == reader.recorder.commits[0]);
  CHECK(eventually([&] { return !must(catalog.slot(source.options.slot))->active; }));
}

TEST_CASE("source: a reader held up for longer than wal_sender_timeout stays connected") {
  Source source;
  source.run_each(
      {"CREATE TABLE a (id int PRIMARY KEY, pad text)", "CREATE PUBLICATION pub FOR TABLE a"});
  source.options.dsn += " options='-c wal_sender_timeout=2s'";
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  // More than the sockets hold, so that the server is stuck in sending.
  source.run_each({"INSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g"});
  std::this_thread::sleep_for(Millis(5000));
  Reader reader(source);
  reader.read(replication, 1);
  CHECK(reader.recorder.lines.size() == 20002);
  CHECK(reader.recorder.positions.back().ordinal == 19999);
  // An idle one stays connected too.
  std::this_thread::sleep_for(Millis(5000));
  source.run_each({"INSERT INTO a VALUES (0, '')"});
  reader.read(replication, 2);
}

TEST_CASE("source: keepalives tell how far an idle stream is, when asked") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE other (id int)",
                   "CREATE PUBLICATION pub FOR TABLE a"});
  Catalog catalog(source.options);
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  source.run_each({"INSERT INTO other SELECT generate_series(1, 1000)"});
  const Lsn goal = must(catalog.flush_lsn());
  Lsn reached;
  CHECK(eventually([&] {
    replication.request_keepalive();
    const auto frame = must(replication.next(Millis(50)));
    if (frame && frame->kind == Frame::Kind::keepalive) reached = frame->server_wal_end;
    return reached >= goal;
  }));
  replication.set_flushed(reached);
  CHECK(eventually(
      [&] { return must(catalog.slot(source.options.slot))->confirmed_flush_lsn >= goal; }));
}

TEST_CASE("source: next() with no wait returns at once; interrupt ends a wait") {
  Source source;
  source.run_each({"CREATE TABLE a (id int PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE a"});
  Replication replication(source.options);
  must(replication.connect());
  must(replication.create_slot());
  must(replication.start(Lsn{}));
  std::this_thread::sleep_for(Millis(200));
  while (must(replication.next(Millis(0)))) {
  }
  const auto before = std::chrono::steady_clock::now();
  CHECK_FALSE(must(replication.next(Millis(0))));
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::milliseconds(20));
  std::jthread other([&] {
    std::this_thread::sleep_for(Millis(100));
    replication.interrupt();
  });
  const auto interrupted = replication.next(Millis(10'000));
  REQUIRE_FALSE(interrupted);
  CHECK(interrupted.error().code() == ErrorCode::cancelled);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(2));
}
