#include "jobs/session/file_options.hpp"

#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "io/temporary_file.hpp"
#include "jobs/session/options.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/hf_cache.hpp"

namespace hack::jobs {
namespace {

namespace fs = std::filesystem;

/// A path that an option names or implies.
struct NamedFile {
  std::string option;  ///< with its value, for messages
  fs::path path;
};

/// What is put behind an output to name the files that are written.
std::vector<std::string> endings(const CLI::App& app, const std::string& option) {
  if (option != "--output") return {""};
  const std::string command = app.get_name();
  if (command == "compress" && app.get_option("--heal")->count() > 0) return {"", ".unhealed"};
  if (command == "study") return {".json", ".csv", ".md", ".records"};
  if (command == "sweep") return {"", ".records"};
  return {""};
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  if (fs::exists(a, error) || fs::exists(b, error)) return false;
  return fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

std::string name_of(const CLI::Option& option) {
  return option.get_positional() ? option.get_name(true) : "--" + option.get_single_name();
}

}  // namespace

void refuse_input(const std::string& option, const fs::path& output, const std::string& input) {
  std::error_code error;
  const auto refuse = [&](const fs::path& file) {
    validate(!is_same(output, file), "{} would write over {}, which it reads; name another file", option,
             file.string());
  };
  if (!fs::exists(output, error) || io::is_stream(output)) return;  // streams are nobody's content
  if (!fs::is_directory(input, error)) {
    for (const fs::path& part : model::gguf_parts(input)) refuse(part);
    return;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(model::model_directory(input), error)) {
    if (entry.is_regular_file(error)) refuse(entry.path());
  }
}

void check_files(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> inputs;
  std::vector<NamedFile> outputs;
  for (const CLI::Option* option : options_of(command)) {
    const std::string name = name_of(*option);
    for (const std::string& value : option->results()) {
      if (option->get_type_name() == input_type) inputs.emplace_back(name, value);
      if (option->get_type_name() != output_type) continue;
      for (const std::string& ending : endings(command, name)) {
        outputs.push_back({fmt::format("{} {}", name, value), value + ending});
      }
    }
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    for (const auto& [option, input] : inputs) refuse_input(outputs[i].option, outputs[i].path, input);
    for (std::size_t j = 0; j < i; ++j) {
      validate(outputs[i].option == outputs[j].option || io::is_stream(outputs[i].path) ||
                   !is_same(outputs[i].path, outputs[j].path),
               "{} and {} would write the same file; name two", outputs[j].option, outputs[i].option);
    }
  }
}

}  // namespace hack::jobs
