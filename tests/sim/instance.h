// Instance: one millrace process of a history: capture, apply or both, supervised as the product
// does.
//
// Both stages are actors of one process; the first that ends stops the other.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "relay/pipeline/apply.h"
#include "relay/pipeline/capture.h"
#include "relay/pipeline/shared.h"
#include "relay/pipeline/status_board.h"
#include "tests/sim/world.h"

namespace millrace::sim {

struct InstanceParts {
  log::Log* log = nullptr;
  std::unique_ptr<sink::Target> target;  // none: capture alone
  std::optional<pipeline::CaptureOptions> capture;
  std::optional<pipeline::ApplyOptions> apply;
};

class Instance {
 public:
  Instance(World& world, std::string name, InstanceParts parts);
  ~Instance();

  bool captures() const { return parts_.capture.has_value(); }
  bool applies() const { return parts_.apply.has_value(); }
  const std::string& name() const { return process_->name; }
  Process& process() { return *process_; }

  void request_stop();
  void kill();
  // Ends a statement that outlasts the grace of a stop.
  void look_after();
  bool ended() const { return !world_.running(*process_); }
  bool was_killed() const { return process_->killed; }
  const std::optional<Error>& error() const { return error_; }

  bool had_rival = false;

 private:
  void run();
  Status prepare();
  void start_stages();
  void stage_ended(const Status& status);

  World& world_;
  InstanceParts parts_;
  std::shared_ptr<Process> process_;
  std::stop_source stop_;
  pipeline::Shared shared_;
  pipeline::StatusBoard board_;
  pipeline::Apply* applying_ = nullptr;
  SteadyTime stop_at_{};
  std::optional<Error> error_;
};

}  // namespace millrace::sim
