// SlotSource: all that capture needs of a source, so that it can be something else than a server.
//
// postgres_slots() is the one that is used; the simulator (tests/sim) puts a model in its place.
// Contracts and errors are those of Replication and Catalog, which implement the two interfaces.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/source/options.h"
#include "relay/source/stream_messages.h"

namespace millrace::source {

struct Identity;
struct SlotInfo;

// See Replication.
class SlotStream {
 public:
  virtual ~SlotStream() = default;
  virtual Status connect() = 0;
  virtual Result<Identity> identify() = 0;
  virtual Status start(Lsn from) = 0;
  virtual bool slot_is_busy() const = 0;
  virtual Result<std::optional<Frame>> next(Millis wait) = 0;
  virtual void set_flushed(Lsn lsn) = 0;
  virtual void request_keepalive() = 0;
  virtual Status failure() const = 0;
  virtual void stop() = 0;
};

// See Catalog.
class SlotCatalog {
 public:
  virtual ~SlotCatalog() = default;
  virtual Status connect() = 0;
  virtual Result<std::optional<SlotInfo>> slot(const std::string& name) = 0;
  virtual Result<std::vector<std::string>> primary_key(const std::string& schema,
                                                       const std::string& table) = 0;
};

// Makes connections, not opened yet.
class SlotSource {
 public:
  virtual ~SlotSource() = default;
  virtual std::unique_ptr<SlotStream> stream() = 0;
  virtual std::unique_ptr<SlotCatalog> catalog() = 0;
};

std::shared_ptr<SlotSource> postgres_slots(const Options& options);

}  // namespace millrace::source
