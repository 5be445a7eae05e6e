#include "relay/config/yaml_tree.h"

#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "relay/config/mistakes.h"

namespace millrace::config {
namespace {

tl::unexpected<Error> fail_at(const std::string& filename, int line, std::string message) {
  Mistakes mistakes(filename);
  mistakes.add(line, std::move(message));
  return fail(mistakes.error());
}

int line_of(const YAML::Mark& mark, int otherwise) {
  return mark.line >= 0 ? mark.line + 1 : otherwise;
}

// "${env:X}" is an error of YAML inside { }, where people will write it all the same. So its braces
// stand aside while YAML is read, as two characters of Unicode's private use area.
constexpr std::string_view kOpen = "\xEE\x80\x80";   // U+E000 for "${"
constexpr std::string_view kClose = "\xEE\x80\x81";  // U+E001 for its "}"

std::string hide_braces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  for (size_t open = text.find("${"); open != std::string_view::npos; open = text.find("${", at)) {
    const size_t end = text.find_first_of("{}\n'\"", open + 2);
    const bool closed = end != std::string_view::npos && text[end] == '}';
    out += text.substr(at, open - at);
    out += closed ? kOpen : "${";
    at = open + 2;
    if (!closed) continue;
    out += text.substr(at, end - at);
    out += kClose;
    at = end + 1;
  }
  out += text.substr(at);
  return out;
}

std::string show_braces(std::string text) {
  for (size_t at = text.find(kOpen); at != std::string::npos; at = text.find(kOpen, at)) {
    text.replace(at, kOpen.size(), "${");
  }
  for (size_t at = text.find(kClose); at != std::string::npos; at = text.find(kClose, at)) {
    text.replace(at, kClose.size(), "}");
  }
  return text;
}

// Counts documents. The library makes empty ones without end of a sign that may not stand first (as
// "," or "}"), so LoadAll would never return; Load takes the first alone.
class DocumentCounter final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { starts_.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  const std::vector<YAML::Mark>& starts() const { return starts_; }

 private:
  std::vector<YAML::Mark> starts_;
};

// Empty when `text` holds at most one document; otherwise what is wrong, and its line.
std::optional<std::pair<int, std::string>> second_document(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentCounter counter;
  while (counter.starts().size() < 2 && parser.HandleNextDocument(counter)) {
  }
  if (counter.starts().size() < 2) return std::nullopt;
  const YAML::Mark& second = counter.starts()[1];
  if (second.pos == counter.starts()[0].pos) {
    return std::pair(line_of(second, 1), "not YAML: a value can not begin with this sign");
  }
  return std::pair(line_of(second, 1), "a second document begins here; one pipeline a file");
}

class Converter {
 public:
  explicit Converter(const std::string& filename) : filename_(filename) {}

  // `line` is the nearest line known: a null value has no mark of its own.
  Result<YamlNode> convert(const YAML::Node& from, int line, int depth) {
    YamlNode to;
    to.line = line_of(from.Mark(), line);
    if (++nodes_ > kNodesMost) return fail_at(filename_, to.line, "the file has too many values");
    if (depth > kDepthMost) return fail_at(filename_, to.line, "values are nested too deep");
    switch (from.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        to.line = line;
        break;
      case YAML::NodeType::Scalar:
        to.kind = YamlNode::Kind::scalar;
        to.text = show_braces(from.Scalar());
        break;
      case YAML::NodeType::Sequence:
        to.kind = YamlNode::Kind::list;
        for (const auto& item : from) {
          TRY_ASSIGN(auto converted, convert(item, to.line, depth + 1));
          to.items.push_back(std::move(converted));
        }
        break;
      case YAML::NodeType::Map:
        to.kind = YamlNode::Kind::mapping;
        for (const auto& member : from) TRY(add_member(to, member.first, member.second, depth));
        break;
    }
    return to;
  }

 private:
  Status add_member(YamlNode& to, const YAML::Node& key, const YAML::Node& value, int depth) {
    const int line = line_of(key.Mark(), to.line);
    if (key.Type() != YAML::NodeType::Scalar) {
      return fail_at(filename_, line, "a key must be a plain word");
    }
    TRY_ASSIGN(auto converted, convert(value, line, depth + 1));
    to.members.push_back({show_braces(key.Scalar()), line, std::move(converted)});
    return {};
  }

  const std::string& filename_;
  size_t nodes_ = 0;
};

}  // namespace

Result<YamlNode> parse_yaml(std::string_view text, const std::string& filename) {
  if (text.size() > kFileBytesMost) return fail_at(filename, 1, "the file is larger than 1MB");
  if (text.find('\0') != std::string_view::npos) return fail_at(filename, 1, "not a text file");
  if (text.find(kOpen) != std::string_view::npos || text.find(kClose) != std::string_view::npos) {
    return fail_at(filename, 1, "the file holds a character of Unicode's private use area");
  }
  // yaml-cpp throws; this is the edge.
  try {
    const std::string hidden = hide_braces(text);
    if (auto wrong = second_document(hidden)) {
      return fail_at(filename, wrong->first, std::move(wrong->second));
    }
    return Converter(filename).convert(YAML::Load(hidden), 1, 0);
  } catch (const YAML::Exception& error) {
    return fail_at(filename, line_of(error.mark, 1), "not YAML: " + error.msg);
  } catch (const std::exception& error) {
    return fail_at(filename, 1, std::string("not YAML: ") + error.what());
  }
}

}  // namespace millrace::config
