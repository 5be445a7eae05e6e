#include "relay/config/config.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "relay/config/interpolate.h"
#include "relay/config/mistakes.h"
#include "relay/config/reader.h"
#include "relay/config/yaml_tree.h"

namespace millrace::config {

Result<Config> parse(std::string_view text, const std::string& filename,
                     const Environment& environment) {
  TRY_ASSIGN(const YamlNode root, parse_yaml(text, filename));
  const std::filesystem::path folder = std::filesystem::path(filename).parent_path();
  const Interpolation sources{environment, folder.string()};
  Config config;
  config.file = filename;
  Mistakes mistakes(filename);
  Reader(config, sources, mistakes).read(root);
  if (!mistakes.empty()) return fail(mistakes.error());
  config.state = (folder / config.state).lexically_normal().string();
  return config;
}

Result<Config> load(const std::string& path, const Environment& environment) {
  errno = 0;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorCode::config, path + ": is a folder", "name the YAML file itself");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return fail(ErrorCode::config, path + ": can not read the config: " + std::strerror(errno),
                "name the config with -c FILE");
  }
  std::string text;
  text.reserve(4096);
  // One byte more than allowed is enough for parse_yaml to refuse it.
  for (std::istreambuf_iterator<char> at(in), end; at != end && text.size() <= kFileBytesMost;
       ++at) {
    text += *at;
  }
  return parse(text, path, environment);
}

}  // namespace millrace::config
