#include "tests/sim/history.h"

#include <algorithm>
#include <utility>

#include "tests/sim/instance.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kHealTicks = 300'000;
constexpr Millis kHealTime{600'000};
constexpr Millis kStopTime{6000};

// The reasons for which one of two instances may be refused.
bool lost_to_a_rival(const Error& error) {
  const std::string text = error.describe();
  return text.find("another instance") != std::string::npos ||
         text.find("active for another process") != std::string::npos ||
         text.find("has an applied position already") != std::string::npos;
}

}  // namespace

History::History(uint64_t seed, bool only_crashes, bool tracing)
    : world_(seed, tracing),
      profile_(draw_profile(world_.random, only_crashes)),
      source_(world_, profile_),
      log_(world_, profile_),
      database_(world_, profile_, source_) {
  source_.durable = [this] {
    return profile_.embedded ? database_.reached() : std::max(log_.published(), source_.origin());
  };
  database_.published = [this] { return log_.ever_published(); };
}

History::~History() {
  for (const auto& instance : instances_) instance->kill();
}

Outcome History::run() {
  set_up();
  world_.faults_on = true;
  live();
  world_.faults_on = false;
  if (world_.violated().empty()) heal();
  if (world_.violated().empty()) shut_down();
  for (const auto& instance : instances_) instance->kill();
  return {world_.violated(),   world_.faults,       world_.steps,
          source_.committed(), database_.commits(), world_.lines()};
}

// As `millrace setup` leaves it: a slot, and mostly the origin in the log.
void History::set_up() {
  if (!profile_.split && world_.random.percent(50)) return;
  auto setup = std::make_shared<Process>();
  setup->name = "setup";
  world_.start("setup", setup, [this] {
    pipeline::PublisherOptions options;
    options.pipeline = "shop";
    options.publisher = "setup";
    options.system_identifier = kSystemIdentifier;
    options.timeline = kTimeline;
    pipeline::Publisher publisher(log_, world_, options, {});
    if (!publisher.claim(std::nullopt)) return;
    if (!publisher.begin_at({kTimeline, source_.origin(), {}, {}}, true, true)) return;
    while (publisher.in_flight() && publisher.tick(true, Millis(20))) {
    }
  });
  while (world_.running(*setup)) tick();
}

void History::live() {
  const uint64_t ticks = world_.random.between(200, 2500);
  for (uint64_t i = 0; i < ticks || source_.committed() < profile_.transactions; ++i) {
    tick();
    if (world_.random.per_mille(150)) keep_running();
    meet_faults();
    if (!world_.violated().empty()) return;
  }
}

void History::heal() {
  world_.trace("-- no more faults");
  for (const auto& instance : instances_) instance->process().paused_until = {};
  const SteadyTime until = world_.now() + kHealTime;
  for (uint64_t i = 0; i < kHealTicks && world_.now() < until; ++i) {
    if (caught_up()) return;
    tick();
    keep_running();
    if (!world_.violated().empty()) return;
  }
  world_.violation(
      "I6", fmt::format("not caught up: {} transactions, the target has {}, the slot forgot {}",
                        source_.committed(), source_.contained(database_.reached()),
                        source_.contained(source_.confirmed())));
}

bool History::caught_up() const {
  return database_.reached() >= source_.last_end() && source_.confirmed() >= source_.last_end();
}

void History::shut_down() {
  world_.trace("-- all stop");
  for (const auto& instance : instances_) instance->request_stop();
  const SteadyTime until = world_.now() + kStopTime;
  while (!instances_.empty() && world_.violated().empty()) {
    if (world_.now() >= until) return world_.violation("I6", "a stop takes longer than 6 s");
    tick();
  }
}

void History::tick() {
  if (world_.random.percent(25)) environment();
  if (!world_.turn()) {
    environment();
    world_.pass_time(Millis(static_cast<int64_t>(world_.random.between(1, 60))));
  }
  for (const auto& instance : instances_) instance->look_after();
  reap();
}

void History::environment() {
  Random& random = world_.random;
  const uint64_t what = random.below(100);
  if (what < 10) {
    if (world_.faults_on && source_.committed() < profile_.transactions) source_.commit();
  } else if (what < 12) {
    source_.other_wal();  // an idle slot moves on with what others write
  } else if (what < 80) {
    log_.work();
  } else if (what < 92) {
    source_.deliver_acknowledgements();
  } else if (what < 95) {
    database_.end_orphans();
  } else if (what < 98) {
    source_.notice_the_dead();
  } else {
    source_.save_slot();
  }
}

void History::meet_faults() {
  Random& random = world_.random;
  const auto happens = [&](const char* name, unsigned chance) {
    if (!random.per_mille(chance)) return false;
    ++world_.faults[name];
    world_.trace("fault: {}", name);
    return true;
  };
  if (happens("source crash", profile_.source_crash)) source_.crash();
  if (happens("slot connection terminated", profile_.terminate)) source_.terminate();
  if (instances_.empty()) return;
  Instance& one = *instances_[random.below(instances_.size())];
  if (happens("kill -9", profile_.kill)) {
    world_.trace("{} is killed", one.name());
    one.kill();
  } else if (happens("clean stop", profile_.stop)) {
    one.request_stop();
  } else if (happens("pause", profile_.pause)) {
    const bool longer = random.percent(30);
    const Millis wait(static_cast<int64_t>(random.between(10, longer ? 40'000 : 2000)));
    one.process().paused_until = world_.now() + wait;
    world_.trace("{} is stopped for {} ms", one.name(), wait.count());
  }
  reap();
}

Instance* History::alive(Role role) const {
  for (const auto& instance : instances_) {
    if (role != Role::apply ? instance->captures() : instance->applies()) return instance.get();
  }
  return nullptr;
}

void History::keep_running() {
  const bool rivals = profile_.rivals && world_.faults_on;
  const auto wanted = [&](Role role) {
    if (!alive(role)) return true;
    const auto same = std::count_if(instances_.begin(), instances_.end(), [&](const auto& other) {
      return role == Role::apply ? other->applies() : other->captures();
    });
    return rivals && same < 2 && world_.random.percent(10);
  };
  if (!profile_.split) {
    if (wanted(Role::all)) start(Role::all);
    return;
  }
  if (wanted(Role::capture)) start(Role::capture);
  if (wanted(Role::apply)) start(Role::apply);
}

std::optional<pipeline::ManifestHint> History::hint() {
  if (hints_.empty()) return {};
  if (!world_.random.percent(profile_.hint_lost)) return hints_.back();
  ++world_.faults["offsets folder lost or old"];
  if (world_.random.percent(50)) return {};
  return hints_[world_.random.below(hints_.size())];
}

void History::start(Role role) {
  const std::string name = fmt::format("{}{}", role == Role::apply ? "apply" : "relay", ++started_);
  if (profile_.embedded) log_.drop_queued();  // its one process is gone
  if (profile_.embedded && started_ > 1 && world_.random.percent(profile_.log_lost)) {
    log_.lose_folder();
  }
  InstanceParts parts;
  parts.log = &log_;
  if (role != Role::apply) {
    pipeline::CaptureOptions capture;
    capture.source.slot = "millrace_shop";
    capture.slots = source_.slots();
    capture.is_ours = [](const TableSchema&) { return true; };
    capture.acknowledge_applied = profile_.embedded;
    capture.target_known = role == Role::all;
    if (profile_.paced) capture.pace = {Millis(20), Millis(0), 1};
    capture.exit_on_stop = true;
    capture.manifest_hint = hint();
    capture.on_published = [this](const pipeline::Published& group) {
      hints_.push_back({group.offset, group.manifest.token});
    };
    capture.publisher.pipeline = "shop";
    capture.publisher.publisher = name;
    capture.publisher.group_rows = profile_.publish_rows;
    capture.publisher.group_wait = Millis(profile_.group_wait ? 5 : 0);
    capture.publisher.topic_of = [](const TableSchema& table) { return "shop." + table.name; };
    parts.capture = std::move(capture);
  }
  if (role != Role::capture) {
    parts.target = database_.connect();
    pipeline::ApplyOptions apply;
    apply.pipeline = "shop";
    apply.group_rows = profile_.apply_rows;
    apply.group_wait = Millis(profile_.group_wait ? 50 : 0);
    apply.after_capture = role == Role::all;
    apply.exit_on_stop = true;
    parts.apply = std::move(apply);
  }
  auto instance = std::make_unique<Instance>(world_, name, std::move(parts));
  for (const auto& other : instances_) {
    const bool rival =
        (other->captures() && instance->captures()) || (other->applies() && instance->applies());
    if (!rival) continue;
    other->had_rival = true;
    instance->had_rival = true;
  }
  instances_.push_back(std::move(instance));
}

void History::reap() {
  for (const auto& instance : instances_) {
    if (instance->ended() && !instance->was_killed()) judge(*instance);
  }
  std::erase_if(instances_, [](const auto& instance) { return instance->ended(); });
}

void History::judge(const Instance& instance) {
  if (!instance.error()) return;
  const Error& error = *instance.error();
  if (error.code() == ErrorCode::refused && instance.had_rival && lost_to_a_rival(error)) return;
  world_.violation("no false refusal", instance.name() + " ended: " + error.describe());
}

}  // namespace millrace::sim
