// The modes of bench_readers that publish: Capture as `millrace run` has it, over a log of its own.
#include <filesystem>
#include <memory>
#include <sstream>

#include <fmt/format.h>
#include <unistd.h>

#include "relay/log/embedded/embedded_log.h"
#include "relay/log/kafka/kafka_log.h"
#include "relay/pipeline/capture.h"
#include "tests/bench/readers.h"

namespace millrace::bench {
namespace {

constexpr size_t kMemory = size_t{32} << 20;  // a quarter of `memory: 128MB`, as `run` has it

std::unique_ptr<log::Log> open(const Job& job, const std::string& name) {
  if (job.mode == "embedded") {
    log::EmbeddedOptions options;
    options.path = job.log;
    options.manifest_topic = name + ".manifests";
    options.memory_bytes = kMemory;
    if (std::filesystem::exists(job.log)) give_up(job.log + " exists already");
    return need(log::open_embedded(options));
  }
  log::KafkaOptions options;
  std::istringstream words(job.log);
  std::getline(words, options.brokers, ';');
  for (std::string setting; std::getline(words, setting, ';');) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) give_up("expected KEY=VALUE, found " + setting);
    options.passthrough[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  options.manifest_topic = name + ".manifests";
  options.replication_factor = 1;
  options.memory_bytes = kMemory;
  return need(log::open_kafka(options));
}

}  // namespace

void capture(const Job& job, Tally& tally) {
  const std::string name = fmt::format("bench{}", getpid());
  const std::string rows = name + ".rows";
  std::unique_ptr<log::Log> log = open(job, name);
  need(log->ensure_topics({{rows, job.mode == "embedded" ? 1 : 3}}, true));

  pipeline::CaptureOptions options;
  options.source.dsn = job.dsn;
  options.source.slot = job.slot;
  options.source.publication = job.publication;
  options.publisher.pipeline = name;
  options.publisher.publisher = name;
  options.publisher.topic_of = [rows](const TableSchema&) { return rows; };
  options.is_ours = [](const TableSchema&) { return true; };
  // Nothing is ever applied, so nothing is acknowledged, and the slot stays where it is.
  options.acknowledge_applied = true;
  options.target_known = true;
  options.exit_on_stop = true;
  options.goal = job.end;
  options.end_at_goal = true;
  options.on_published = [&tally](const pipeline::Published& group) {
    if (tally.rows == 0 && group.manifest.rows > 0) tally.first = system_clock().now();
    tally.rows += group.manifest.rows;
    tally.transactions += group.manifest.transactions;
    // The end of the last group: what comes after it is Capture's leave-taking.
    tally.last = system_clock().now();
  };
  pipeline::Shared shared;
  pipeline::StatusBoard board(name, "capture", system_clock());
  tally.began = system_clock().now();
  need(pipeline::Capture(*log, system_clock(), options, shared, board).run({}));
  need(log->remove_topics({{rows, 1}}));
  log.reset();
  if (job.mode == "embedded") std::filesystem::remove_all(job.log);
}

}  // namespace millrace::bench
