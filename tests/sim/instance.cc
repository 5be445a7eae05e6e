#include "tests/sim/instance.h"

#include <utility>

#include "relay/base/backoff.h"
#include "relay/pipeline/stage.h"

namespace millrace::sim {
namespace {

constexpr Millis kStopGrace{3000};

}  // namespace

Instance::Instance(World& world, std::string name, InstanceParts parts)
    : world_(world),
      parts_(std::move(parts)),
      process_(std::make_shared<Process>()),
      board_("shop", "all", world) {
  process_->name = std::move(name);
  world_.trace("{} starts", process_->name);
  world_.start(process_->name, process_, [this] { run(); });
}

Instance::~Instance() {
  if (!ended()) kill();
}

void Instance::run() {
  Backoff backoff;
  const pipeline::StageOptions stage{"setup", true, Millis(3000), &world_};
  if (auto ready = pipeline::run_stage(stage, board_, backoff, stop_.get_token(),
                                       [this] { return prepare(); });
      !ready) {
    return stage_ended(ready);
  }
  if (!stop_.stop_requested()) start_stages();
}

// What a process asks before its stages begin.
Status Instance::prepare() {
  if (!parts_.target) return {};
  TRY_ASSIGN(const auto applied, parts_.target->applied());
  if (applied) shared_.set_applied(applied->watermark);
  return {};
}

void Instance::start_stages() {
  if (parts_.apply) {
    world_.start(name() + "/apply", process_, [this] {
      pipeline::Apply apply(*parts_.log, *parts_.target, world_, *parts_.apply, shared_, board_);
      applying_ = &apply;
      const auto status = apply.run(stop_.get_token());
      applying_ = nullptr;
      stage_ended(status);
    });
  }
  if (parts_.capture) {
    world_.start(name() + "/capture", process_, [this] {
      pipeline::Capture capture(*parts_.log, world_, *parts_.capture, shared_, board_);
      stage_ended(capture.run(stop_.get_token()));
    });
  }
}

void Instance::stage_ended(const Status& status) {
  world_.trace("ends: {}", status ? "done" : status.error().describe());
  if (!status && !error_) error_ = status.error();
  request_stop();
}

void Instance::request_stop() {
  if (stop_.stop_requested()) return;
  stop_at_ = world_.now() + kStopGrace;
  stop_.request_stop();
}

void Instance::look_after() {
  if (!stop_.stop_requested() || world_.now() < stop_at_) return;
  if (applying_) applying_->interrupt();
}

void Instance::kill() {
  applying_ = nullptr;
  world_.kill(*process_);
  parts_.target.reset();
}

}  // namespace millrace::sim
