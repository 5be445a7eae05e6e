#include "relay/config/interpolate.h"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/config/parse_helpers.h"

using namespace millrace;
using namespace millrace::config;

namespace {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "config_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }

  void write(const std::string& name, const std::string& text, mode_t mode) const {
    std::ofstream(path + "/" + name) << text;
    REQUIRE(::chmod((path + "/" + name).c_str(), mode) == 0);
  }
  std::string path;
};

std::string text_of(const std::string& text, const Environment& environment, Quoting quoting) {
  const Interpolation sources{environment, ""};
  auto out = interpolate(text, sources, quoting);
  return out ? *out : "error: " + out.error().message();
}

}  // namespace

TEST_CASE("interpolate: variables anywhere in a value") {
  const auto env = environment_of({{"A", "one"}, {"B", "two ${env:A}"}});
  CHECK(text_of("x${env:A}y${env:A}", env, Quoting::none) ==
        "xoney"
        "one");
  CHECK(text_of("${env:B}", env, Quoting::none) == "two ${env:A}");  // not expanded again
  CHECK(text_of("$${env:A} $5", env, Quoting::none) == "${env:A} $5");
  CHECK(text_of("${env:A", env, Quoting::none) == "error: ${ without its closing }");
  CHECK(text_of("${HOME}", env, Quoting::none) ==
        "error: ${HOME}: write ${env:NAME} or ${file:path} ($${ for a plain ${)");
  CHECK(text_of("${env:C}", env, Quoting::none) ==
        "error: ${env:C}: the environment has no such variable");
  CHECK(text_of("${env:}", env, Quoting::none).starts_with("error: "));
}

TEST_CASE("interpolate: quotes for its place in a connection string") {
  const auto env =
      environment_of({{"P", "a'b\\c@d/e f"}, {"H", "db.old"}, {"URL", "postgresql://u:p%40@h/d"}});
  const auto dsn = Quoting::connection_string;
  CHECK(text_of("postgresql://u:${env:P}@${env:H}/d", env, dsn) ==
        "postgresql://u:a%27b%5Cc%40d%2Fe%20f@db.old/d");
  CHECK(text_of("${env:URL}", env, dsn) == "postgresql://u:p%40@h/d");
  CHECK(text_of("host=${env:H} password=${env:P}", env, dsn) ==
        "host='db.old' password='a\\'b\\\\c@d/e f'");
  CHECK(text_of("password='${env:P}' user=x", env, dsn) == "password='a\\'b\\\\c@d/e f' user=x");
  CHECK(text_of("host=${env:H}.example user=x", env, dsn) == "host=db.old.example user=x");
}

TEST_CASE("interpolate: secret files") {
  const Folder folder;
  folder.write("good", "hunter2\n", 0600);
  folder.write("two_lines", "a\nb\n", 0640);
  folder.write("open", "hunter2\n", 0644);
  folder.write("empty", "\n", 0600);
  const auto env = no_environment();
  const Interpolation sources{env, folder.path};
  const auto read = [&](const std::string& name) {
    auto out = interpolate("${file:" + name + "}", sources, Quoting::none);
    return out ? *out : "error: " + out.error().message();
  };
  CHECK(read("good") == "hunter2");
  CHECK(read(folder.path + "/good") == "hunter2");
  CHECK(read("two_lines") == "a\nb");
  CHECK(read("open") ==
        "error: ${file:open}: everybody may read the file; run chmod o-r " + folder.path + "/open");
  CHECK(read("empty") == "error: ${file:empty}: the file is empty");
  CHECK(read("none") == "error: ${file:none}: can not read the file: No such file or directory");
  CHECK(read("/dev/null") == "error: ${file:/dev/null}: not a regular file");
  REQUIRE(::mkfifo((folder.path + "/fifo").c_str(), 0600) == 0);
  CHECK(read("fifo") == "error: ${file:fifo}: not a regular file");
}

TEST_CASE("parse: ${env:…} may stand unquoted where YAML has a flow mapping") {
  const auto config =
      parse_text(kMinimal + "log: {kafka: {a: ${env:A}, b: \"x${env:A}\", c: '$${'}}\n",
                 environment_of({{"A", "one"}}));
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message()));
  REQUIRE(config->log.kafka.size() == 3);
  CHECK(config->log.kafka[0].second.reveal() == "one");
  CHECK(config->log.kafka[1].second.reveal() == "xone");
  CHECK(config->log.kafka[2].second.reveal() == "${");
}
