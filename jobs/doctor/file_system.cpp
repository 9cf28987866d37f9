#include "jobs/doctor/file_system.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

namespace hack::jobs {
namespace {

template <std::size_t n>
bool contains(const std::array<std::string_view, n>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A field of /proc/mounts: space, tab, newline and backslash stand there as three octal digits behind a backslash.
std::string unescaped(const std::string& field) {
  std::string text;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      text += static_cast<char>(std::stoi(field.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      text += field[i];
    }
  }
  return text;
}

bool is_within(const std::string& path, const std::string& mount) {
  return mount == "/" || path == mount || path.starts_with(mount + "/");
}

}  // namespace

std::string file_system_name(const std::filesystem::path& path) {
  std::error_code error;
  const std::string place = std::filesystem::weakly_canonical(path, error).string();
  std::ifstream mounts("/proc/mounts");
  std::string name = "unknown";
  std::size_t longest = 0;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, mount, type;
    if (!(fields >> device >> mount >> type)) continue;
    mount = unescaped(mount);
    // The last of equally long ones lies on top of the others.
    if (is_within(place, mount) && mount.size() >= longest) {
      longest = mount.size();
      name = type;
    }
  }
  return name;
}

bool is_network_file_system(const std::string& name) {
  constexpr std::array<std::string_view, 14> names = {"nfs",   "nfs4",      "lustre",   "gpfs",  "beegfs",
                                                      "cifs",  "smb3",      "ceph",     "9p",    "afs",
                                                      "pvfs2", "fuse.ceph", "virtiofs", "wekafs"};
  return contains(names, name) || name.starts_with("fuse.");
}

bool is_memory_file_system(const std::string& name) { return name == "tmpfs" || name == "ramfs"; }

}  // namespace hack::jobs
