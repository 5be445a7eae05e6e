// Decodes what real servers sent (tests/golden/pgoutput/*.bin, captured by integration_source; but
// streaming.bin is made by hand, a server sends 64 kB at least) and compares with the lines that
// were read and found right when the file was added (*.txt).
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "relay/decode/decoder.h"
#include "tests/unit/decode/memory_transactions.h"
#include "tests/unit/decode/message_file.h"
#include "tests/unit/decode/recorder.h"

namespace t = millrace::testing;
using namespace millrace;

namespace {

std::string decode_file(const std::string& path) {
  t::Recorder recorder;
  t::MemoryTransactions open;
  decode::Decoder decoder(
      {1,
       [](const std::string&, const std::string& table) -> Result<std::vector<std::string>> {
         // As the captured source had it: see tests/integration/source/.
         if (table == "full_keyed") return std::vector<std::string>{"id"};
         return std::vector<std::string>{};
       },
       &open});
  for (const std::string& message : t::split_messages(t::read_all(path))) {
    const Status status = decoder.decode(message, recorder);
    if (!status) recorder.lines.push_back("error " + status.error().describe());
  }
  std::string out;
  for (const auto& table : recorder.tables) {
    const std::string line = "table " + t::render(*table) + "\n";
    if (out.find(line) == std::string::npos) out += line;
  }
  for (const std::string& line : recorder.lines) out += line + "\n";
  return out;
}

}  // namespace

TEST_CASE("Decoder: captured streams decode to what was recorded") {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MILLRACE_GOLDEN_DIR)) {
    if (entry.path().extension() != ".bin") continue;
    ++files;
    CAPTURE(entry.path().filename().string());
    auto text = entry.path();
    text.replace_extension(".txt");
    const std::string decoded = decode_file(entry.path());
    if (std::getenv("MILLRACE_UPDATE_GOLDEN") != nullptr) {
      std::ofstream(text, std::ios::binary) << decoded;
    }
    CHECK(decoded == t::read_all(text));
    CHECK(decoded.find("error ") == std::string::npos);
  }
  CHECK(files > 0);
}
