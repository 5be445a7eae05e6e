#include "relay/source/slot_source.h"

#include "relay/source/catalog.h"
#include "relay/source/replication.h"

namespace millrace::source {
namespace {

class PostgresSlots final : public SlotSource {
 public:
  explicit PostgresSlots(const Options& options) : options_(options) {}
  std::unique_ptr<SlotStream> stream() override { return std::make_unique<Replication>(options_); }
  std::unique_ptr<SlotCatalog> catalog() override { return std::make_unique<Catalog>(options_); }

 private:
  Options options_;
};

}  // namespace

std::shared_ptr<SlotSource> postgres_slots(const Options& options) {
  return std::make_shared<PostgresSlots>(options);
}

}  // namespace millrace::source
