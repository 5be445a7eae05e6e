#include "relay/cli/http_check.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "relay/base/thread_name.h"

namespace millrace::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kName = "backfill.throttle.url";
constexpr std::string_view kScheme = "http://";
constexpr size_t kBodyMax = size_t{64} << 10;
constexpr size_t kShownMax = 200;

// One line, and not a long one.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, std::min(kShownMax, text.find_first_of("\r\n"))));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return out;
}

std::string with_text(std::string reason, std::string_view text) {
  const std::string line = shown(text);
  return line.empty() ? reason : reason + ": " + line;
}

// "host:port" and "/path?query".
std::pair<std::string, std::string> parts_of(std::string_view url) {
  url.remove_prefix(std::min(kScheme.size(), url.size()));
  url = url.substr(0, url.find('#'));
  const size_t end = std::min(url.find_first_of("/?"), url.size());
  const std::string_view rest = url.substr(end);
  return {fmt::format("{}{}", kScheme, url.substr(0, end)),
          fmt::format("{}{}", rest.starts_with('/') ? "" : "/", rest)};
}

std::string ask(const HttpCheckOptions& options) {
  const auto [server, path] = parts_of(options.url);
  httplib::Client client(server);
  if (!client.is_valid()) return fmt::format("{} is no URL that can be asked", kName);
  client.set_connection_timeout(options.timeout);
  client.set_read_timeout(options.timeout);
  client.set_write_timeout(options.timeout);
  client.set_keep_alive(false);
  const auto until = SteadyClock::now() + options.timeout;
  int status = 0;
  std::string body;
  const auto result = client.Get(
      path,
      [&status](const httplib::Response& answer) {
        status = answer.status;
        return true;
      },
      [&body, until](const char* data, size_t size) {
        body.append(data, std::min(size, kBodyMax - body.size()));
        return body.size() < kBodyMax && SteadyClock::now() < until;
      });
  // An answer that can have no body, like 204, goes past both of them.
  if (result) return reason_of_answer(result->status, body);
  if (status != 0 && body.size() >= kBodyMax) return reason_of_answer(status, body);
  return fmt::format("{} does not answer ({})", kName, httplib::to_string(result.error()));
}

}  // namespace

std::string reason_of_answer(int status, std::string_view body) {
  if (status < 200 || status > 299) {
    return with_text(fmt::format("{} says {}", kName, status), body);
  }
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return {};
  const auto hold = json.find("hold");
  if (hold == json.end() || *hold == nlohmann::json(false)) return {};
  const auto why = json.find("why");
  const bool has_why = why != json.end() && why->is_string();
  return with_text(fmt::format("{} says to hold", kName),
                   has_why ? why->get_ref<const std::string&>() : std::string());
}

struct HttpCheck::Shared {
  HttpCheckOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopped = false;
  SteadyTime wanted_until;
  std::optional<std::string> answer;
  SteadyTime answered_at;
};

HttpCheck::HttpCheck(HttpCheckOptions options) : shared_(std::make_shared<Shared>()) {
  shared_->options = std::move(options);
  // Detached: a name server that is silent would hold up whoever joins it.
  std::thread([shared = shared_] { run(shared); }).detach();
}

HttpCheck::~HttpCheck() {
  const std::lock_guard lock(shared_->mutex);
  shared_->stopped = true;
  shared_->changed.notify_all();
}

std::string HttpCheck::reason() {
  const SteadyTime now = SteadyClock::now();
  const std::lock_guard lock(shared_->mutex);
  Shared& shared = *shared_;
  shared.wanted_until = now + shared.options.wanted_for;
  shared.changed.notify_all();
  if (!shared.answer) return fmt::format("{} has not answered yet", kName);
  // An answer that is on its way has its time; an older one says nothing.
  const auto age = now - shared.answered_at;
  if (age <= shared.options.every + 2 * shared.options.timeout) return *shared.answer;
  return fmt::format("{} has not answered for {} s", kName,
                     std::chrono::duration_cast<std::chrono::seconds>(age).count());
}

void HttpCheck::run(const std::shared_ptr<Shared>& shared) {
  name_this_thread("throttle url");
  std::unique_lock lock(shared->mutex);
  const auto wanted = [&shared] {
    return shared->stopped || SteadyClock::now() < shared->wanted_until;
  };
  const auto stopped = [&shared] { return shared->stopped; };
  while (true) {
    shared->changed.wait(lock, wanted);
    if (shared->stopped) return;
    lock.unlock();
    std::string answer = ask(shared->options);
    lock.lock();
    shared->answer = std::move(answer);
    shared->answered_at = SteadyClock::now();
    if (shared->changed.wait_for(lock, shared->options.every, stopped)) return;
  }
}

}  // namespace millrace::cli
