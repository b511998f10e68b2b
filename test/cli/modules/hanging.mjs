/** Its end never comes. */
export default () => () => {
  process.stdout.write('ending\n');
  return new Promise(() => {});
};
