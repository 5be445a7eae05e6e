#include "relay/source/conninfo.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <libpq-fe.h>

namespace millrace::source {
namespace {

constexpr std::string_view kPins =
    "-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c TimeZone=UTC "
    "-c bytea_output=hex -c lc_monetary=C -c row_security=off -c search_path=pg_catalog";

struct OptionsFree {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using OptionsPtr = std::unique_ptr<PQconninfoOption, OptionsFree>;

// libpq quotes the piece that it did not understand, which may be a password: leave it out.
std::string without_quoted(std::string_view message) {
  const size_t first = message.find('"');
  if (first == std::string_view::npos) return std::string(message);
  const size_t last = message.rfind('"');
  return fmt::format("{}…{}", message.substr(0, first),
                     last == first ? std::string_view() : message.substr(last + 1));
}

bool is_secret(std::string_view keyword) {
  return keyword == "password" || keyword == "sslpassword";
}

std::string describe_server(const Conninfo& info) {
  const auto value = [&info](std::string_view keyword, std::string_view otherwise) {
    const std::string* found = info.find(keyword);
    return found != nullptr ? *found : std::string(otherwise);
  };
  const std::string host = value("host", value("hostaddr", "local socket"));
  return fmt::format("{}:{}/{}", host, value("port", "5432"), value("dbname", value("user", "")));
}

}  // namespace

void Redactor::add(std::string secret) {
  if (secret.empty()) return;
  secrets_.push_back(std::move(secret));
  std::sort(secrets_.begin(), secrets_.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

std::string Redactor::clean(std::string_view text) const {
  std::string out(text);
  for (const std::string& secret : secrets_) {
    for (size_t at = out.find(secret); at != std::string::npos; at = out.find(secret, at + 3)) {
      out.replace(at, secret.size(), "***");
    }
  }
  std::string line;
  for (const char c : out) {
    if (c == '\n') {
      line += "; ";
    } else if (c != '\r') {
      line.push_back(c == '\t' ? ' ' : c);
    }
  }
  while (!line.empty() && (line.back() == ' ' || line.back() == ';')) line.pop_back();
  return line;
}

const std::string* Conninfo::find(std::string_view keyword) const {
  for (size_t i = 0; i < keywords.size(); ++i) {
    if (keywords[i] == keyword) return &values[i];
  }
  return nullptr;
}

std::string pinned_options(std::string_view users) {
  if (users.empty()) return std::string(kPins);
  return fmt::format("{} {}", users, kPins);
}

Result<Conninfo> make_conninfo(const Options& options, Purpose purpose) {
  char* raw_error = nullptr;
  const OptionsPtr parsed(PQconninfoParse(options.dsn.c_str(), &raw_error));
  const std::unique_ptr<char, decltype(&PQfreemem)> error(raw_error, &PQfreemem);
  Conninfo info;
  if (!parsed) {
    return fail(ErrorCode::config,
                fmt::format("the source's dsn can not be read: {}",
                            info.redactor.clean(without_quoted(error ? error.get() : "no memory"))),
                "write it as postgresql://user:password@host:port/database or as key=value pairs; "
                "in a URI percent-encode the password");
  }
  std::string users_options;
  bool options_given = false;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    const std::string_view keyword = option->keyword;
    if (is_secret(keyword)) info.redactor.add(option->val);
    if (keyword == "options") {
      users_options = option->val;
      options_given = true;
    } else if (keyword != "replication" && keyword != "client_encoding") {
      info.keywords.emplace_back(keyword);
      info.values.emplace_back(option->val);
    }
  }
  info.redactor.add(options.dsn);
  // Ours would hide the environment's, which libpq takes only when none are given.
  if (const char* environment = std::getenv("PGOPTIONS");
      !options_given && environment != nullptr) {
    users_options = environment;
  }
  const auto set_unless_given = [&info](const char* keyword, std::string value) {
    if (info.find(keyword) != nullptr) return;
    info.keywords.emplace_back(keyword);
    info.values.push_back(std::move(value));
  };
  set_unless_given("options", pinned_options(users_options));
  set_unless_given("client_encoding", "UTF8");
  set_unless_given("application_name", options.application_name);
  // A peer that vanished is noticed within half a minute.
  set_unless_given("keepalives_idle", "10");
  set_unless_given("keepalives_interval", "5");
  set_unless_given("keepalives_count", "4");
  set_unless_given("tcp_user_timeout", "30000");
  if (purpose == Purpose::replication) set_unless_given("replication", "database");
  info.where = info.redactor.clean(describe_server(info));
  return info;
}

}  // namespace millrace::source
