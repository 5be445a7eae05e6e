// The contract of relay/log/log.h: the same cases for every implementation.
//
// A test program links contract_test.cc and one backend, which says how a log comes to be.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "relay/log/log.h"

namespace millrace::log::contract {

struct Needs {
  size_t memory_bytes = size_t{16} << 20;
  size_t max_record_bytes = size_t{4} << 20;
};

// One log with a manifest topic of its own; topics of one backend do not see each other's records.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Log& log() = 0;
  virtual std::string manifest_topic() const = 0;
  // Makes data topics and returns their names, different in every call.
  virtual std::string topic(int partitions) = 0;
  // Closes the log and opens what it left.
  virtual void reopen() = 0;
  virtual int partitions_most() const = 0;
  // False where topics can not be made and removed (the mock cluster).
  virtual bool manages_topics() const = 0;
};

std::unique_ptr<Backend> make_backend(const Needs& needs);

}  // namespace millrace::log::contract
