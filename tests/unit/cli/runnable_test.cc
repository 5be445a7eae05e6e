#include "relay/cli/runnable.h"

#include <doctest/doctest.h>

using millrace::cli::runnable;

TEST_CASE("the commands a text names carry the config they were given") {
  CHECK(runnable("run `millrace setup` first, then `millrace run`", "shop.yaml") ==
        "run `millrace setup -c shop.yaml` first, then `millrace run -c shop.yaml`");
  CHECK(runnable("`millrace verify --report FILE`", "my shop.yaml") ==
        "`millrace verify --report FILE -c 'my shop.yaml'`");
}

TEST_CASE("what needs no config, names one or is no command stays as it is") {
  for (const char* text :
       {"`millrace --help` lists it", "`millrace help run`", "`millrace run -c other.yaml`",
        "the table `millrace` and `millrace_letters`", "an open quote: `millrace setup", "nothing",
        ""}) {
    CHECK(runnable(text, "shop.yaml") == text);
  }
  CHECK(runnable("`millrace setup`", "") == "`millrace setup`");
  CHECK(runnable("`millrace setup`", "millrace.yaml") == "`millrace setup`");
}
