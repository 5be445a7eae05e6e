// When everything before a place in the WAL can be seen, against a real Postgres.
#include "relay/source/visibility.h"

#include "tests/integration/source/source_fixture.h"

using namespace millrace;
using namespace millrace::source;
using namespace millrace::testing;

TEST_CASE("Visibility: a mark is seen at once where nothing else writes") {
  Source source;
  Visibility visibility(source.options);
  const Lsn before = must(Catalog(source.options).server()).insert_lsn;
  const auto mark = must(visibility.mark());
  CHECK(mark.lsn >= before);
  CHECK(must(visibility.seen(mark)));
  CHECK(must(visibility.waiting_for(mark)).empty());
}

// It is the last one that got an id: the snapshot's own xmax does not lie beyond it.
TEST_CASE("Visibility: a transaction that wrote before the mark is waited for, and named") {
  Source source;
  auto writer = must(Connection::open(source.options));
  must(writer.query("begin", "BEGIN"));
  must(writer.query("write", "SELECT pg_current_xact_id()"));
  Visibility visibility(source.options);
  const auto mark = must(visibility.mark());
  CHECK_FALSE(must(visibility.seen(mark)));
  CHECK(must(visibility.waiting_for(mark)).find("open since") != std::string::npos);
  auto later = must(Connection::open(source.options));
  must(later.query("begin", "BEGIN"));
  must(later.query("write", "SELECT pg_current_xact_id()"));
  must(writer.query("end", "COMMIT"));
  CHECK(must(visibility.seen(mark)));  // whoever began to write later is not waited for
  CHECK(must(visibility.waiting_for(mark)).empty());
}

TEST_CASE("Visibility: a reader is not waited for") {
  Source source;
  auto reader = must(Connection::open(source.options));
  must(reader.query("begin", "BEGIN ISOLATION LEVEL REPEATABLE READ"));
  must(reader.query("read", "SELECT count(*) FROM pg_class"));
  Visibility visibility(source.options);
  const auto mark = must(visibility.mark());
  CHECK(must(visibility.seen(mark)));
}
