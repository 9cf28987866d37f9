#pragma once

#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace hack::jobs {

/// A finished run, as --report wrote it. Members that the file lacks are empty; it may come from another version, or
/// from anybody.
struct RunFile {
  std::string file;  ///< name of the file without its folders
  std::string command, version;
  nlohmann::json config, environment, results;  ///< objects
};

/// Reads a report, or the PREFIX.json of a study. An Error where the file is neither.
RunFile read_run(const std::string& path);

/// The command line that makes such a run: `mpirun -n P` in front where it had P > 1 ranks, options that are not as
/// `program` (the whole program, its commands not parsed) has them without being told. Words are quoted for a shell.
std::string command_line(const RunFile& run, const CLI::App& program);

/// A number of an object's member, or NaN.
double number_at(const nlohmann::json& object, const std::string& key);
/// A text of an object's member, or an empty one.
std::string text_at(const nlohmann::json& object, const std::string& key);

}  // namespace hack::jobs
