// Files of records. The first byte of an input chooses: 0, the whole file; else the content of one record of a kind,
// with valid digests: losses of windows, sums over inputs, sensitivities.

#include <nlohmann/json.hpp>

#include "io/byte_stream.hpp"
#include "io/record_file.hpp"
#include "model/calibration/sensitivity_file.hpp"
#include "model/calibration/statistics_file.hpp"
#include "model/evaluate/loss_records.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;
using comm::Communicator;
using io::RecordFile;

const nlohmann::json key = {{"model", "m"}, {"text", "t"}};

model::WindowPlan plan() {
  model::WindowPlan plan;
  plan.windows = {{0, 5, 1}, {5, 8, 1}};
  return plan;
}

/// One that holds these records and no others.
void write_records(const fs::path& path, const char* kind, const nlohmann::json& of, const std::string& name,
                   std::string_view content) {
  RecordFile file(path, kind, of);
  file.clear();
  file.append(name, content, RecordFile::Durable::within_a_second);
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::vector<std::string> seeds() {
  const fs::path path = scratch_folder() / "seed.records";
  fs::remove(path);
  RecordFile file(path, "parts", key);
  file.append("a", "first content");
  file.append("b", std::string_view());
  file.append("a", "third");
  std::vector<std::string> out = {'\0' + testing::read_file(path)};
  const auto other = [](const std::string& found) { return '\0' + ("hack-records 1 parts " + found + "\n"); };
  out.push_back(other(R"({"model":"n","text":["a",{"b":2}]})"));
  out.push_back(other(std::string(3000, '[')));
  out.push_back(other(std::string(100000, '[') + std::string(100000, ']')));
  out.push_back(other(R"({"model":)" + std::string(50000, '[') + std::string(50000, ']') + "}"));
  out.push_back('\1' + bytes_of<index_t>({0, 5, 1}) + bytes_of<float>({1, 2.5f, 0, 3}));
  out.push_back('\2' + bytes_of<float>({1, 2, 5}));
  io::ByteWriter sensitivity;
  for (const index_t size : {3, 4, 2, 4}) sensitivity.put(size);
  sensitivity.put(0.25);
  sensitivity.put(1.5);
  sensitivity.put(std::vector<float>{4, 3, 2});
  sensitivity.put(std::vector<double>{});
  out.push_back('\3' + sensitivity.bytes());
  return out;
}

void read_whole(const fs::path& path) {
  RecordFile file(path, "parts", key);
  for (index_t i = 0; i < file.size(); ++i) {
    const auto content = file.read(i);
    if (content && content->size() != file.length(i)) report_finding("a record of another length");
    file.find(file.name(i));
  }
  if (file.owner() == RecordFile::Owner::other_work) file.difference();
  if (file.owner() >= RecordFile::Owner::other_work) return;
  const index_t before = file.size();
  file.append("new", "what is appended", RecordFile::Durable::within_a_second);
  const RecordFile again(path, "parts", key);
  if (again.size() != before + 1 || again.read(before) != "what is appended") report_finding("an append is lost");
}

void read_losses(const fs::path& path, std::string_view content) {
  write_records(path, "losses", key, "0", content);
  accepts(path, [&] {
    model::WindowLosses losses;
    model::LossRecords(path, key).read(plan(), losses);
  });
}

void read_statistics(std::string_view content) {
  static const std::string own_key = "statistics of a test";
  static const Communicator self = Communicator::self();
  static const fs::path folder = [] {
    const fs::path made = scratch_folder() / "statistics";
    fs::create_directory(made);
    model::StatisticsFile file(self, made, own_key);
    auto statistics = svd::InputStatistics::from_packed(1, std::vector<float>{1});
    file.write("input", statistics);
    file.finish();
    return made;
  }();
  const fs::path path = fs::directory_iterator(folder)->path();
  write_records(path, "statistics", own_key, "input", content);
  RecordFile(path, "statistics", own_key).append("end", std::string_view(), RecordFile::Durable::within_a_second);
  accepts(path, [&] { model::StatisticsFile(self, folder, own_key).read("input", 2); });
}

void read_sensitivity(const fs::path& path, std::string_view content) {
  write_records(path, "sensitivities", "key", "matrix", content);
  model::read_sensitivities(path, "key", {"matrix"});
}

void read(std::string_view bytes) {
  static const ScratchFile file("a.records");
  if (bytes.empty()) return;
  const std::string_view content = bytes.substr(1);
  switch (bytes.front() % 4) {
    case 0:
      file.write(content);
      return read_whole(file.path());
    case 1:
      return read_losses(file.path(), content);
    case 2:
      return read_statistics(content);
    default:
      return read_sensitivity(file.path(), content);
  }
}

}  // namespace

const Target& target() {
  static const Target here{"records", seeds, read};
  return here;
}

}  // namespace hack::fuzz
