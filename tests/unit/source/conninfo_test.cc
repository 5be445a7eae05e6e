#include "relay/source/conninfo.h"

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::source;

namespace {

Result<Conninfo> make(const std::string& dsn, Purpose purpose = Purpose::sql) {
  Options options;
  options.dsn = dsn;
  return make_conninfo(options, purpose);
}

std::string value(const Conninfo& info, std::string_view keyword) {
  const std::string* found = info.find(keyword);
  return found == nullptr ? "(none)" : *found;
}

}  // namespace

TEST_CASE("make_conninfo: pins follow the user's own options, so that ours win") {
  const auto info = make("host=h dbname=d options='-c work_mem=1MB -c DateStyle=SQL'");
  REQUIRE(info);
  const std::string options = value(*info, "options");
  CHECK(options.starts_with("-c work_mem=1MB -c DateStyle=SQL -c DateStyle=ISO "));
  for (const char* pin : {"IntervalStyle=postgres", "extra_float_digits=3", "TimeZone=UTC",
                          "bytea_output=hex", "lc_monetary=C", "row_security=off"}) {
    CHECK(options.find(pin) != std::string::npos);
  }
  CHECK(value(*info, "client_encoding") == "UTF8");
}

TEST_CASE("make_conninfo: PGOPTIONS are kept when the DSN has none") {
  setenv("PGOPTIONS", "-c work_mem=7MB", 1);
  const auto info = make("host=h dbname=d");
  unsetenv("PGOPTIONS");
  REQUIRE(info);
  CHECK(value(*info, "options").starts_with("-c work_mem=7MB -c DateStyle=ISO"));
}

TEST_CASE("make_conninfo: the user's keywords stay, ours fill the gaps") {
  const auto info = make(
      "postgresql://u:p%40ss@db.old:6543/shop?sslmode=verify-full&application_name=mine"
      "&client_encoding=LATIN1&replication=true&keepalives_idle=99");
  REQUIRE(info);
  CHECK(value(*info, "sslmode") == "verify-full");
  CHECK(value(*info, "application_name") == "mine");
  CHECK(value(*info, "keepalives_idle") == "99");
  CHECK(value(*info, "keepalives_count") == "4");
  CHECK(value(*info, "client_encoding") == "UTF8");
  CHECK(value(*info, "replication") == "(none)");
  CHECK(value(*info, "password") == "p@ss");
  CHECK(info->where == "db.old:6543/shop");
}

TEST_CASE("make_conninfo: a replication connection names no other kind") {
  const auto info = make("host=h dbname=d", Purpose::replication);
  REQUIRE(info);
  CHECK(value(*info, "replication") == "database");
  CHECK(value(*info, "application_name") == "millrace");
}

TEST_CASE("make_conninfo: a DSN that can not be read is config and shows nothing of itself") {
  for (const char* dsn : {
           "host=h password=hunter2 se\"cret",
           "postgresql://u:hunter2@[::1/db",
           "postgresql://u:hunter2@h/db?unknown_hunter2=1",
           "host=h password='hunter2",
           "hunter2",
           "postgresql://u:hunter2%zz@h/db",
       }) {
    CAPTURE(dsn);
    const auto info = make(dsn);
    REQUIRE_FALSE(info);
    CHECK(info.error().code() == ErrorCode::config);
    CAPTURE(info.error().describe());
    CHECK(info.error().describe().find("hunter2") == std::string::npos);
    CHECK(info.error().describe().find("cret") == std::string::npos);
  }
}

TEST_CASE("Redactor: passwords, longest first, and one line") {
  Redactor redactor;
  redactor.add("ab");
  redactor.add("abc");
  redactor.add("");
  CHECK(redactor.clean("x abc y ab\nz\n") == "x *** y ***; z");
  CHECK(redactor.clean("ababab") == "*********");
  Redactor stars;
  stars.add("*");
  CHECK(stars.clean("a*b") == "a***b");
}

TEST_CASE("Redactor: of a DSN hides password, sslpassword and the DSN") {
  const auto info = make("host=h user=u password=topsecret sslpassword=keysecret dbname=d");
  REQUIRE(info);
  const std::string text = info->redactor.clean(
      "topsecret keysecret host=h user=u password=topsecret sslpassword=keysecret dbname=d");
  CHECK(text == "*** *** ***");
}
