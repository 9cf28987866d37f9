#pragma once

#include <filesystem>
#include <string>

namespace hack::jobs {

/// Name of the file system that holds a path, as /proc/mounts has it ("ext4", "nfs4", "lustre"); "unknown" where it
/// does not.
std::string file_system_name(const std::filesystem::path& path);

/// Whether other machines see the same files there.
bool is_network_file_system(const std::string& name);

/// Whether files there are held in memory.
bool is_memory_file_system(const std::string& name);

}  // namespace hack::jobs
