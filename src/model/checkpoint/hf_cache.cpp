#include "model/checkpoint/hf_cache.hpp"

#include <fstream>
#include <string>
#include <vector>

#include "kernels/error.hpp"

namespace hack::model {

namespace fs = std::filesystem;

fs::path model_directory(const fs::path& path) {
  const fs::path snapshots = path / "snapshots";
  std::error_code error;
  if (!fs::is_directory(snapshots, error) || fs::exists(path / "config.json", error)) return path;
  std::string name;
  std::ifstream(path / "refs" / "main") >> name;
  const bool is_name = !name.empty() && fs::path(name).filename() == name && name != "..";
  if (is_name && fs::is_directory(snapshots / name, error)) return snapshots / name;
  std::vector<fs::path> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(snapshots, error)) all.push_back(entry.path());
  validate(all.size() == 1, "cannot use {} (it has {} snapshots, and refs/main names none of them); give one of them",
           path.string(), all.size());
  return all.front();
}

}  // namespace hack::model
